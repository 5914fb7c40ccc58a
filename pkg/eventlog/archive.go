package eventlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// Archive returns a whole log as compressed JSONL, one event a line. closing is
// the batch that will end it but is not stored yet; nil when the log is closed.
func (s *Store) Archive(ctx context.Context, job string, closing *Batch) ([]byte, error) {
	var out bytes.Buffer
	zw, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return nil, fmt.Errorf("eventlog: archive: %w", err)
	}
	write := func(events ...[]byte) error {
		for _, e := range events {
			if _, err := zw.Write(e); err != nil {
				return err
			}
			if _, err := zw.Write([]byte{'\n'}); err != nil {
				return err
			}
		}
		return nil
	}
	var after int64
	for {
		page, err := s.Read(ctx, job, after, 0)
		if err != nil {
			return nil, errors.Join(err, zw.Close())
		}
		for _, e := range page.Events {
			if err := write(e); err != nil {
				return nil, errors.Join(err, zw.Close())
			}
		}
		after = page.Last()
		if !page.More {
			break
		}
	}
	if closing != nil {
		for _, e := range closing.Events {
			if err := write(e); err != nil {
				return nil, errors.Join(err, zw.Close())
			}
		}
	}
	if err := zw.Close(); err != nil {
		return nil, fmt.Errorf("eventlog: archive: %w", err)
	}
	return out.Bytes(), nil
}
