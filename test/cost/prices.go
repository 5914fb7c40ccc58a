package main

import "codexgateway.dev/pkg/gcp/meter"

// pricesAsOf is when the list below was read. us-central1, list prices, US
// dollars, without any free tier.
const pricesAsOf = "2026-11-22"

// Prices. Sources: cloud.google.com/{firestore,pubsub,storage,secret-manager}/pricing.
const (
	perDocRead   = 0.03 / 100_000
	perDocWrite  = 0.09 / 100_000
	perDocDelete = 0.01 / 100_000
	// A TiB published, and again a TiB delivered to each subscription.
	perPubSubByte = 40.0 / (1 << 40)
	perBlobWrite  = 0.005 / 1000
	perBlobRead   = 0.0004 / 1000
	perSecretRead = 0.03 / 10_000
	// A GiB for a month.
	perBlobGiB = 0.020
	// Cloud Run requests, beside the processor time that this report leaves out.
	perRequest = 0.40 / 1_000_000
)

// Free tiers of one project: of Firestore a day, of Cloud Run requests and of
// gigabytes in Cloud Storage a month.
const (
	freeDocReads  = 50_000
	freeDocWrites = 20_000
	freeRequests  = 2_000_000
	freeBlobGiB   = 5
)

// dollars is what counts cost at list prices.
func dollars(c meter.Counts) float64 {
	return float64(c.DocReads)*perDocRead + float64(c.DocWrites)*perDocWrite + float64(c.DocDeletes)*perDocDelete +
		float64(c.PublishBytes+c.DeliverBytes)*perPubSubByte +
		float64(c.BlobWrites)*perBlobWrite + float64(c.BlobReads)*perBlobRead + float64(c.SecretReads)*perSecretRead
}
