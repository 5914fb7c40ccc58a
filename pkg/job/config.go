package job

import (
	"time"

	"codexgateway.dev/pkg/admission"
)

// Config is what every service that opens a [Store] must agree on.
type Config struct {
	Tenants admission.Config

	LogRetention time.Duration `env:"CODEXGW_LOG_RETENTION,default=168h" min:"0" doc:"How long the event log of an ended job stays in the document store; older logs are read from the job's artifact. 0: for ever."`
}
