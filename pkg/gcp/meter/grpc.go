package meter

import (
	"context"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
)

// GRPC are the options of a client whose calls are counted.
func (m *Meter) GRPC() []option.ClientOption {
	return []option.ClientOption{
		option.WithGRPCDialOption(grpc.WithChainUnaryInterceptor(m.unary)),
		option.WithGRPCDialOption(grpc.WithChainStreamInterceptor(m.stream)),
	}
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
	if method == methodRunQuery {
		// A query is billed as one read before its first document, which is that read.
		m.add(func(c *Counts) { c.DocReads++ })
	}
	return &counted{ClientStream: s, meter: m}, nil
}

// counted sees what a stream delivers.
type counted struct {
	grpc.ClientStream

	meter *Meter
	// begun is true once a query has delivered a document.
	begun bool
}

// RecvMsg implements grpc.ClientStream.
func (s *counted) RecvMsg(msg any) error {
	if err := s.ClientStream.RecvMsg(msg); err != nil {
		return err
	}
	switch r := msg.(type) {
	case *firestorepb.BatchGetDocumentsResponse:
		if r.GetResult() != nil { // one that does not exist is billed too
			s.meter.add(func(c *Counts) { c.DocReads++ })
		}
	case *firestorepb.RunQueryResponse:
		if r.GetDocument() != nil {
			if s.begun {
				s.meter.add(func(c *Counts) { c.DocReads++ })
			}
			s.begun = true
		}
	case *pubsubpb.StreamingPullResponse:
		s.meter.delivered(r.GetReceivedMessages())
	}
	return nil
}
