# Completion of kiro for bash. Generated: `kiro --show-completion bash`.

_kiro() {
    local current="${COMP_WORDS[COMP_CWORD]}" place="" offered="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$place/${COMP_WORDS[i]}" in
            /serve|/demo|/status|/ask|/models|/accounts|/accounts/import|/accounts/scan|/accounts/export|/accounts/add|/accounts/remove|/accounts/restore|/accounts/set|/accounts/list|/accounts/show|/accounts/rename|/accounts/enable|/accounts/disable|/accounts/refresh|/accounts/usage|/login|/login/device|/login/google|/login/github|/login/company|/login/sso|/login/remote|/login/key|/login/token|/login/sso-cookie|/keys|/keys/list|/keys/create|/keys/show|/keys/set|/keys/rotate|/keys/enable|/keys/disable|/keys/remove|/logs|/logs/show|/config|/config/list|/config/get|/config/set|/config/unset|/config/edit|/config/path|/doctor)
                place="$place/${COMP_WORDS[i]}" ;;
        esac
    done
    case "$place" in
        "") offered="serve demo status ask models accounts login keys logs config doctor --version --install-completion --show-completion --help" ;;
        "/serve") offered="--host --port -p --open --help" ;;
        "/demo") offered="--port -p --help" ;;
        "/status") offered="--json --help" ;;
        "/ask") offered="--model -m --account --help" ;;
        "/models") offered="--refresh --json --help" ;;
        "/accounts") offered="import scan export add remove restore set list show rename enable disable refresh usage --help" ;;
        "/accounts/import") offered="--name --follow --mode --check --yes -y --json --help" ;;
        "/accounts/scan") offered="--add --mode --check --json --help" ;;
        "/accounts/export") offered="--output -o --format --plain --yes -y --help" ;;
        "/accounts/add") offered="--name --help" ;;
        "/accounts/remove") offered="--yes -y --no-revoke --help" ;;
        "/accounts/restore") offered="--help" ;;
        "/accounts/set") offered="--priority --proxy --region --flavour --profile --overage-budget --mode --yes -y --help" ;;
        "/accounts/list") offered="--json --help" ;;
        "/accounts/show") offered="--json --help" ;;
        "/accounts/rename") offered="--help" ;;
        "/accounts/enable") offered="--help" ;;
        "/accounts/disable") offered="--help" ;;
        "/accounts/refresh") offered="--help" ;;
        "/accounts/usage") offered="--json --help" ;;
        "/login") offered="device google github company sso remote key token sso-cookie --help" ;;
        "/login/device") offered="--start-url --region --name --help" ;;
        "/login/google") offered="--device --browser --incognito --no-browser --name --help" ;;
        "/login/github") offered="--device --browser --incognito --no-browser --name --help" ;;
        "/login/company") offered="--browser --incognito --no-browser --name --help" ;;
        "/login/sso") offered="--start-url --region --browser --incognito --no-browser --name --help" ;;
        "/login/remote") offered="portal google github company sso device --start-url --region --name --help" ;;
        "/login/key") offered="--name --region --check --help" ;;
        "/login/token") offered="--client-id --start-url --region --token-endpoint --name --help" ;;
        "/login/sso-cookie") offered="--yes -y --name --help" ;;
        "/keys") offered="list create show set rotate enable disable remove --help" ;;
        "/keys/list") offered="--json --help" ;;
        "/keys/create") offered="--key --accounts --account --json --help" ;;
        "/keys/show") offered="--json --help" ;;
        "/keys/set") offered="--accounts --account --name --help" ;;
        "/keys/rotate") offered="--key --json --help" ;;
        "/keys/enable") offered="--help" ;;
        "/keys/disable") offered="--help" ;;
        "/keys/remove") offered="--yes -y --help" ;;
        "/logs") offered="show --follow -f --failed --account --key --model --since --limit -n --json --help" ;;
        "/logs/show") offered="--json --help" ;;
        "/config") offered="list get set unset edit path --help" ;;
        "/config/list") offered="--json --help" ;;
        "/config/get") offered="server.host server.port server.require_key server.allowed_hosts server.cors_origins server.max_body_mb upstream.region upstream.url upstream.proxy auth.social_url auth.oidc_url auth.external_hosts pool.strategy pool.sticky_minutes pool.max_in_flight pool.min_interval_ms pool.requests_per_minute pool.total_requests_per_minute pool.overage_credits pool.health_check_minutes relay.resume relay.max_attempts_per_account relay.max_attempts relay.max_seconds relay.first_event_wait_s relay.idle_timeout_s relay.ping_s relay.enforce_max_tokens_below context.on_overflow models.thinking_suffix models.aliases models.compat models.hidden log.level log.retention_days responses.retention_days --json --help" ;;
        "/config/set") offered="server.host server.port server.require_key server.allowed_hosts server.cors_origins server.max_body_mb upstream.region upstream.url upstream.proxy auth.social_url auth.oidc_url auth.external_hosts pool.strategy pool.sticky_minutes pool.max_in_flight pool.min_interval_ms pool.requests_per_minute pool.total_requests_per_minute pool.overage_credits pool.health_check_minutes relay.resume relay.max_attempts_per_account relay.max_attempts relay.max_seconds relay.first_event_wait_s relay.idle_timeout_s relay.ping_s relay.enforce_max_tokens_below context.on_overflow models.thinking_suffix models.aliases models.compat models.hidden log.level log.retention_days responses.retention_days --help" ;;
        "/config/unset") offered="server.host server.port server.require_key server.allowed_hosts server.cors_origins server.max_body_mb upstream.region upstream.url upstream.proxy auth.social_url auth.oidc_url auth.external_hosts pool.strategy pool.sticky_minutes pool.max_in_flight pool.min_interval_ms pool.requests_per_minute pool.total_requests_per_minute pool.overage_credits pool.health_check_minutes relay.resume relay.max_attempts_per_account relay.max_attempts relay.max_seconds relay.first_event_wait_s relay.idle_timeout_s relay.ping_s relay.enforce_max_tokens_below context.on_overflow models.thinking_suffix models.aliases models.compat models.hidden log.level log.retention_days responses.retention_days --help" ;;
        "/config/edit") offered="--help" ;;
        "/config/path") offered="--help" ;;
        "/doctor") offered="--online --json --help" ;;
    esac
    COMPREPLY=($(compgen -W "$offered" -- "$current"))
}

complete -o default -F _kiro kiro kiro-proxy
