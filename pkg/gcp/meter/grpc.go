package meter

import (
	"context"
	"errors"
	"io"
	"time"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"

	"codexgateway.dev/pkg/wait"
)

// GRPC are the options of a client whose calls are counted.
func (m *Meter) GRPC() []option.ClientOption {
	return []option.ClientOption{
		option.WithGRPCDialOption(grpc.WithChainUnaryInterceptor(m.unary)),
		option.WithGRPCDialOption(grpc.WithChainStreamInterceptor(m.stream)),
	}
}

// SlowCommits makes each commit of a Firestore client take so much longer, as it
// does where the database is further away than an emulator: how many events are
// one batch depends on it.
func SlowCommits(by time.Duration) option.ClientOption {
	slow := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if method == methodCommit {
			wait.For(ctx, by)
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	return option.WithGRPCDialOption(grpc.WithChainUnaryInterceptor(slow))
}

func (m *Meter) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	if err == nil {
		m.answered(method, req, reply)
	}
	return err
}

func (m *Meter) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, err
	}
	return &counted{ClientStream: s, meter: m, query: method == methodRunQuery}, nil
}

// counted sees what a stream delivers.
type counted struct {
	grpc.ClientStream

	meter *Meter
	// query is true for a query that nothing was counted for yet: one without a
	// result is billed as one read, one that failed is not.
	query bool
}

// RecvMsg implements grpc.ClientStream.
func (s *counted) RecvMsg(msg any) error {
	if err := s.ClientStream.RecvMsg(msg); err != nil {
		if s.query && errors.Is(err, io.EOF) {
			s.meter.add(func(c *Counts) { c.DocReads++ })
		}
		return err
	}
	switch r := msg.(type) {
	case *firestorepb.BatchGetDocumentsResponse:
		if r.GetResult() != nil { // one that does not exist is billed too
			s.meter.add(func(c *Counts) { c.DocReads++ })
		}
	case *firestorepb.RunQueryResponse:
		if r.GetDocument() != nil {
			s.query = false
			s.meter.add(func(c *Counts) { c.DocReads++ })
		}
	case *pubsubpb.StreamingPullResponse:
		s.meter.delivered(r.GetReceivedMessages())
	}
	return nil
}
