package docstore

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// IndexExpiry is the index by which [Store.PurgeExpired] finds what has expired:
// no Equal, and the collection's Expires field as Order.
const IndexExpiry = "by_expiry"

// PurgeExpired removes up to limit documents of a collection that expired before
// now and returns how many. Where the platform expires documents by itself it
// finds nothing. The collection declares Expires and [IndexExpiry].
func (s *Store) PurgeExpired(ctx context.Context, collection string, now time.Time, limit int) (int, error) {
	page, err := s.Query(ctx, Query{
		Collection: collection, Index: IndexExpiry, To: now.UnixMicro(), Limit: min(limit, MaxCommitWrites),
	})
	if err != nil {
		return 0, fmt.Errorf("docstore: expired of %s: %w", collection, err)
	}
	if len(page.Docs) == 0 {
		return 0, nil
	}
	writes := make([]Write, len(page.Docs))
	for i, d := range page.Docs {
		writes[i] = Write{Op: Delete, Key: d.Key, Version: d.Version}
	}
	// One that somebody else removed or renewed fails the whole commit; the next
	// purge finds the rest.
	if _, err := s.Commit(ctx, writes); err != nil {
		if errors.Is(err, ErrConflict) {
			return 0, nil
		}
		return 0, fmt.Errorf("docstore: purge %s: %w", collection, err)
	}
	return len(writes), nil
}
