package edge

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/edge/internal/attempts"
	"codexgateway.dev/services/edge/internal/issuers"
	"codexgateway.dev/services/edge/internal/origin"
)

// Config is the edge's environment. Zero values of limits mean their defaults,
// those of keys and addresses that there is none.
type Config struct {
	Listen chassis.ListenConfig

	AdminKey  secret.Value `env:"CODEXGW_ADMIN_KEY" doc:"The admin key: it may do everything, for the tenant \"default\"."`
	KeyEnv    string       `env:"CODEXGW_KEY_ENV,default=live" doc:"Names this installation in its tenants' keys, cgw_<name>_…: 1 to 16 lower-case letters and digits."`
	PublicURL string       `env:"CODEXGW_PUBLIC_URL" doc:"The gateway as clients see it, for links in answers; as the request says if not set."`
	Origins   []string     `env:"CODEXGW_CORS_ORIGINS" doc:"Origins whose pages may call the gateway and open WebSockets, besides its own: https://app.example.com, or https://*.example.com for every host below example.com. None if not set."`

	OIDCIssuers string `env:"CODEXGW_OIDC_ISSUERS" doc:"Issuers of OpenID Connect tokens that are taken instead of keys: a JSON list of rules, or the path of a file with one. See the operations guide."`

	AuditLog       string        `env:"CODEXGW_AUDIT_LOG" doc:"A file that audit records are appended to as JSON lines; with the other logs if not set."`
	AuditRetention time.Duration `env:"CODEXGW_AUDIT_RETENTION,default=2160h" min:"24h" doc:"How long stored audit records are kept."`

	BodyLimitJSONRPC int64 `env:"CODEXGW_BODY_LIMIT_JSONRPC,default=8388608" min:"1024" doc:"The largest body of /jsonrpc in bytes."`
	BodyLimitExec    int64 `env:"CODEXGW_BODY_LIMIT_EXEC,default=8388608" min:"1024" doc:"The largest body of /exec in bytes."`
	BodyLimitWS      int64 `env:"CODEXGW_BODY_LIMIT_WS,default=8388608" min:"1024" doc:"The largest WebSocket message in bytes."`
	BodyLimitOther   int64 `env:"CODEXGW_BODY_LIMIT_OTHER,default=16384" min:"0" doc:"The largest body of every other route in bytes."`

	MaxConns         int `env:"CODEXGW_MAX_CONNECTIONS,default=20000" min:"1" doc:"Open connections of an instance; more wait to be accepted."`
	MaxStreams       int `env:"CODEXGW_MAX_STREAMS,default=10000" min:"1" doc:"Open WebSockets and event streams of an instance; more are answered 503."`
	MaxSubscriptions int `env:"CODEXGW_MAX_SUBSCRIPTIONS,default=100" min:"1" doc:"Subscriptions of one WebSocket."`
	MaxInFlight      int `env:"CODEXGW_MAX_IN_FLIGHT,default=32" min:"1" doc:"Requests of one WebSocket that are served at once; reading pauses at it."`

	RateLimit        int      `env:"CODEXGW_RATE_LIMIT,default=100" min:"0" doc:"Calls of a key in any minute, on all instances together, if the key does not say itself; 0: no limit."`
	RateLimitAdmin   int      `env:"CODEXGW_RATE_LIMIT_ADMIN,default=60000" min:"0" doc:"The same of the admin key."`
	MaxCallsPerKey   int      `env:"CODEXGW_MAX_CALLS_PER_KEY,default=100" min:"0" doc:"Calls of a key that an instance serves at once, those that wait for a job included; not of the admin key. 0: no limit."`
	MaxStreamsPerKey int      `env:"CODEXGW_MAX_STREAMS_PER_KEY,default=100" min:"0" doc:"Open WebSockets, event streams and long polls of a key on an instance; not of the admin key. 0: no limit."`
	AuthFailures     int      `env:"CODEXGW_AUTH_FAILURES,default=20" min:"0" doc:"Wrong credentials a minute that one address may show an instance (IPv6: one /64) before it is answered 429 unseen; 0: no limit."`
	TrustedProxies   []string `env:"CODEXGW_TRUSTED_PROXIES" doc:"Networks of load balancers, such as 10.0.0.0/8, whose X-Forwarded-For says where a request comes from."`

	// RingBytes, SlowAfter and PositionCheck tune the hub.
	RingBytes     int           `env:"CODEXGW_STREAM_RING_BYTES,default=1048576" min:"0" doc:"How many bytes of events a live stream may be behind its job; the newest that many of each watched job are kept in memory."`
	SlowAfter     time.Duration `env:"CODEXGW_STREAM_SLOW_AFTER,default=10s" min:"100ms" doc:"How long a stream that is further behind may take to catch up before it is ended, to be resumed."`
	PositionCheck time.Duration `env:"CODEXGW_STREAM_CHECK,default=5s" min:"100ms" doc:"How often a silent stream is compared with the log."`
	WriteTimeout  time.Duration `env:"CODEXGW_WRITE_TIMEOUT,default=10s" min:"100ms" doc:"How long a client may take for a piece of an answer or a message."`

	RepoAllowFile bool `env:"CODEXGW_REPO_ALLOW_FILE,default=false" doc:"Lets repo.url be a file:// URL (development)."`

	DrainTimeout time.Duration `env:"CODEXGW_DRAIN_TIMEOUT,default=4s" min:"100ms" max:"1h" doc:"How long work in hand may go on after SIGTERM. Cloud Run kills after 10 s in all."`
}

// Validate implements chassis.Validator.
func (c *Config) Validate() []error {
	var problems []error
	if c.KeyEnv != "" && !apikey.ValidEnv(c.KeyEnv) {
		problems = append(problems, errors.New("CODEXGW_KEY_ENV must be 1 to 16 lower-case letters and digits"))
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
			problems = append(problems, errors.New("CODEXGW_PUBLIC_URL must be an http or https URL without query"))
		}
	}
	if _, err := origin.Parse(c.Origins); err != nil {
		problems = append(problems, fmt.Errorf("CODEXGW_CORS_ORIGINS: %w", err))
	}
	if _, err := issuers.Parse(c.OIDCIssuers); err != nil {
		problems = append(problems, fmt.Errorf("CODEXGW_OIDC_ISSUERS: %w", err))
	}
	if _, err := attempts.ParseProxies(c.TrustedProxies); err != nil {
		problems = append(problems, fmt.Errorf("CODEXGW_TRUSTED_PROXIES: %w", err))
	}
	return problems
}
