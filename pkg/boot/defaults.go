package boot

import "github.com/sethvargo/go-envconfig"

// Defaults are the variables whose defaults are others here than on a laptop: a
// store in the cloud bills every read and write and is milliseconds away, and
// nobody should pay for a gateway that does nothing.
//
//   - CODEXGW_DELTA_DELAY: text that streams is stored ten times a second, not
//     forty.
//   - CODEXGW_LEASE: a heartbeat is one write and one read each third of it. A job
//     whose worker dies goes on that much later; one whose worker is asked to end
//     is handed back at once all the same.
//   - CODEXGW_RECONCILE_INTERVAL: a sweep reads each running job and asks three
//     more queries. A lease of 90 s need not be looked at every second: a dead job
//     is found within the lease and this, and a job whose message was lost is told
//     of again within 10 s and this.
//   - CODEXGW_RECONCILE_IDLE_INTERVAL, CODEXGW_RECONCILE_UPKEEP: an idle gateway
//     asks two queries at the one interval and six at the other, 12 reads a
//     minute, which is within what Firestore gives away.
func Defaults() map[string]string {
	return map[string]string{
		"CODEXGW_DELTA_DELAY":             "100ms",
		"CODEXGW_LEASE":                   "90s",
		"CODEXGW_RECONCILE_INTERVAL":      "15s",
		"CODEXGW_RECONCILE_IDLE_INTERVAL": "15s",
		"CODEXGW_RECONCILE_UPKEEP":        "1m",
	}
}

// environment is the process's variables, with the defaults of the cloud where
// one is not set. It reads as the service's own environment otherwise.
type environment struct {
	envconfig.Lookuper

	defaults map[string]string
}

var _ envconfig.Lookuper = environment{}

// Lookup implements envconfig.Lookuper.
func (e environment) Lookup(key string) (string, bool) {
	if v, ok := e.Lookuper.Lookup(key); ok && v != "" {
		return v, true
	}
	v, ok := e.defaults[key]
	return v, ok
}
