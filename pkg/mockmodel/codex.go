package mockmodel

import "fmt"

// CodexConfig is a config.toml with which the Codex CLI works on the mock at a
// base URL and on nothing else: no plugins, no apps, no update check, nothing
// sent home, few retries. It ends in tables, so a caller's own settings go before
// it and own tables behind it.
func CodexConfig(baseURL, token string) string {
	return fmt.Sprintf(codexConfig, baseURL, token)
}

const codexConfig = `model_provider = "mock"
check_for_update_on_startup = false
web_search = "disabled"
[model_providers.mock]
name = "mock"
base_url = %q
wire_api = "responses"
experimental_bearer_token = %q
request_max_retries = 0
stream_max_retries = 2
supports_websockets = false
[features]
plugins = false
apps = false
goals = false
unbounded_connection_retries = false
[agents]
enabled = false
[skills]
include_instructions = false
[analytics]
enabled = false
[feedback]
enabled = false
`
