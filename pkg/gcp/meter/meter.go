package meter

import (
	"sync"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/proto"
)

// Counts is what was billed since the start of a [Meter].
type Counts struct {
	// DocReads counts documents that were read, and one for each query without a
	// result (https://cloud.google.com/firestore/pricing).
	DocReads   int64 `json:"doc_reads"`
	DocWrites  int64 `json:"doc_writes"`
	DocDeletes int64 `json:"doc_deletes"`
	// PublishBytes and DeliverBytes are of messages with their attributes, at
	// least 1,000 a request (https://cloud.google.com/pubsub/pricing).
	PublishBytes int64 `json:"publish_bytes"`
	DeliverBytes int64 `json:"deliver_bytes"`
	Published    int64 `json:"published"`
	// BlobWrites are operations of class A, BlobReads of class B
	// (https://cloud.google.com/storage/pricing#operations-by-class).
	BlobWrites  int64 `json:"blob_writes"`
	BlobReads   int64 `json:"blob_reads"`
	BlobBytes   int64 `json:"blob_bytes"`
	SecretReads int64 `json:"secret_reads"`
}

// Sub is what was added since an earlier reading.
func (c Counts) Sub(o Counts) Counts {
	return Counts{
		DocReads: c.DocReads - o.DocReads, DocWrites: c.DocWrites - o.DocWrites, DocDeletes: c.DocDeletes - o.DocDeletes,
		PublishBytes: c.PublishBytes - o.PublishBytes, DeliverBytes: c.DeliverBytes - o.DeliverBytes, Published: c.Published - o.Published,
		BlobWrites: c.BlobWrites - o.BlobWrites, BlobReads: c.BlobReads - o.BlobReads, BlobBytes: c.BlobBytes - o.BlobBytes,
		SecretReads: c.SecretReads - o.SecretReads,
	}
}

// Add is the sum of two countings.
func (c Counts) Add(o Counts) Counts { return c.Sub(Counts{}.Sub(o)) }

// Meter counts the requests of the clients that it was given to. The zero value
// is ready; it is safe for concurrent use.
type Meter struct {
	mu sync.Mutex
	c  Counts
}

// Counts reads the meter.
func (m *Meter) Counts() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.c
}

func (m *Meter) add(change func(*Counts)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.c)
}

// minRequest is what one request to Pub/Sub counts at least.
const minRequest = 1000

// Full names of the billed methods.
const (
	methodCommit       = "/google.firestore.v1.Firestore/Commit"
	methodBatchWrite   = "/google.firestore.v1.Firestore/BatchWrite"
	methodGetDocument  = "/google.firestore.v1.Firestore/GetDocument"
	methodBatchGet     = "/google.firestore.v1.Firestore/BatchGetDocuments"
	methodRunQuery     = "/google.firestore.v1.Firestore/RunQuery"
	methodPublish      = "/google.pubsub.v1.Publisher/Publish"
	methodPull         = "/google.pubsub.v1.Subscriber/Pull"
	methodAccessSecret = "/google.cloud.secretmanager.v1.SecretManagerService/AccessSecretVersion" //nolint:gosec // the name of a method
)

// answered counts a unary call that the server has answered without an error;
// one that failed is not billed.
func (m *Meter) answered(method string, req, reply any) {
	switch method {
	case methodGetDocument:
		m.add(func(c *Counts) { c.DocReads++ })
	case methodAccessSecret:
		m.add(func(c *Counts) { c.SecretReads++ })
	case methodCommit:
		if r, ok := req.(*firestorepb.CommitRequest); ok {
			m.writes(r.GetWrites())
		}
	case methodBatchWrite:
		if r, ok := req.(*firestorepb.BatchWriteRequest); ok {
			m.writes(r.GetWrites())
		}
	case methodPublish:
		if r, ok := req.(*pubsubpb.PublishRequest); ok {
			n := int64(0)
			for _, msg := range r.GetMessages() {
				n += int64(proto.Size(msg))
			}
			m.add(func(c *Counts) {
				c.PublishBytes += max(n, minRequest)
				c.Published += int64(len(r.GetMessages()))
			})
		}
	case methodPull:
		if r, ok := reply.(*pubsubpb.PullResponse); ok {
			m.delivered(r.GetReceivedMessages())
		}
	}
}

func (m *Meter) writes(writes []*firestorepb.Write) {
	m.add(func(c *Counts) {
		for _, w := range writes {
			if w.GetDelete() != "" {
				c.DocDeletes++
			} else {
				c.DocWrites++
			}
		}
	})
}

func (m *Meter) delivered(messages []*pubsubpb.ReceivedMessage) {
	if len(messages) == 0 {
		return
	}
	n := int64(0)
	for _, msg := range messages {
		n += int64(proto.Size(msg.GetMessage()))
	}
	m.add(func(c *Counts) { c.DeliverBytes += max(n, minRequest) })
}
