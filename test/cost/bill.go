package main

// bill is the month that operators ask for: requests at the edge, documents read
// and written, gigabytes stored.
type bill struct {
	Requests, Reads, Writes int64
	GiB                     float64
}

// lines are what the bill comes to, besides Codex's compute; list without the
// free tiers, free with them.
func (b bill) lines() (list, free float64) {
	const days = 30
	requests := float64(b.Requests)
	list = requests*perRequest + float64(b.Reads)*perDocRead + float64(b.Writes)*perDocWrite + b.GiB*perBlobGiB + edgeCompute(b.Requests)
	free = max(0, requests-freeRequests)*perRequest + max(0, float64(b.Reads)-freeDocReads*days)*perDocRead +
		max(0, float64(b.Writes)-freeDocWrites*days)*perDocWrite + max(0, b.GiB-freeBlobGiB)*perBlobGiB +
		max(0, edgeCompute(b.Requests)-freeEdgeCompute)
	return list, free
}

// The edge's own compute: a request takes it some milliseconds, of which Cloud
// Run bills 100 ms at least of one vCPU and half a GiB, shared by those that run
// beside it; here none do.
const (
	perRequestSeconds = 0.1
	perVCPUSecond     = 0.000024
	perGiBSecond      = 0.0000025
	// freeEdgeCompute is 180,000 vCPU-seconds and as many seconds of half a GiB.
	freeEdgeCompute = 180_000*perVCPUSecond + 180_000*0.5*perGiBSecond
)

func edgeCompute(requests int64) float64 {
	return float64(requests) * perRequestSeconds * (perVCPUSecond + 0.5*perGiBSecond)
}

// month1M is the month of the goal.
var month1M = bill{Requests: 1_000_000, Reads: 100_000, Writes: 50_000, GiB: 10} //nolint:gochecknoglobals // a constant
