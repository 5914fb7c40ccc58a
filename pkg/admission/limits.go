package admission

import (
	"fmt"
	"strconv"
	"strings"
)

// Config says how many jobs tenants may have admitted. Services that submit,
// end or repair jobs must agree on it.
type Config struct {
	Running    int      `env:"CODEXGW_TENANT_RUNNING,default=32" min:"0" max:"1000" doc:"Jobs of one tenant that may be announced or run at once; the others wait in fair order. 0: no limit."`
	RunningFor []string `env:"CODEXGW_TENANT_RUNNING_FOR" doc:"Other limits for single tenants, as tenant=number."`
}

// Validate implements chassis.Validator.
func (c *Config) Validate() []error {
	if _, err := c.own(); err != nil {
		return []error{err}
	}
	return nil
}

// own parses the limits of single tenants.
func (c *Config) own() (map[string]int, error) {
	limits := make(map[string]int, len(c.RunningFor))
	for _, pair := range c.RunningFor {
		tenant, number, found := strings.Cut(pair, "=")
		n, err := strconv.Atoi(number)
		if !found || tenant == "" || err != nil || n < 0 || n > MaxLimit {
			return nil, fmt.Errorf("CODEXGW_TENANT_RUNNING_FOR: %q is not tenant=number with a number from 0 to %d", pair, MaxLimit)
		}
		limits[tenant] = n
	}
	return limits, nil
}

// Limits returns the limit of each tenant; 0 is no limit.
func (c *Config) Limits() (func(tenant string) int, error) {
	own, err := c.own()
	if err != nil {
		return nil, err
	}
	general := c.Running
	return func(tenant string) int {
		if n, ok := own[tenant]; ok {
			return n
		}
		return general
	}, nil
}
