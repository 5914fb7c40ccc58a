package firestoredocs

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"

	"codexgateway.dev/pkg/docstore"
)

// meaning is what an error of Firestore means to the port.
type meaning int

const (
	// unanswered: whether a commit was applied is not known.
	unanswered meaning = iota
	// preconditionFailed: nothing was written, for a write's precondition.
	preconditionFailed
	// contended: nothing was written, since others write the same documents.
	contended
	// refusedRequest: the request is wrong, a programming error.
	refusedRequest
	// quota: the project has used up a quota or its capacity; nothing was written.
	quota
	// noDatabase, noPermission: the project is not set up; nothing was written,
	// and the same call works as soon as it is.
	noDatabase
	noPermission
	// noIndex: the query's composite index is missing, or still being built.
	noIndex
)

// commitMeaning decides what the error of a commit means. Firestore answers
// NotFound both for a precondition on a document that is not there and for a
// database that is not: the read that looks for the write tells them apart.
func commitMeaning(c codes.Code) meaning {
	switch c {
	case codes.AlreadyExists, codes.FailedPrecondition, codes.NotFound:
		return preconditionFailed
	case codes.Aborted:
		return contended
	case codes.ResourceExhausted:
		return quota
	default:
		return commonMeaning(c)
	}
}

// readMeaning decides what the error of a read of documents by name means: there
// a missing document is no error.
func readMeaning(c codes.Code) meaning {
	if c == codes.NotFound {
		return noDatabase
	}
	return commonMeaning(c)
}

// queryMeaning decides what the error of a query means.
func queryMeaning(c codes.Code) meaning {
	if c == codes.FailedPrecondition {
		return noIndex
	}
	return readMeaning(c)
}

func commonMeaning(c codes.Code) meaning {
	switch c {
	case codes.InvalidArgument, codes.OutOfRange, codes.Unimplemented:
		return refusedRequest
	case codes.PermissionDenied, codes.Unauthenticated:
		return noPermission
	default:
		// Unavailable, DeadlineExceeded, Canceled, Internal, Unknown, DataLoss,
		// and what comes new.
		return unanswered
	}
}

// failed is the port's error for a call that ended with err. Where the context
// has ended and Firestore's answer says nothing, it is the context's error.
func (d *Driver) failed(ctx context.Context, op string, m meaning, err error) error {
	switch m {
	case refusedRequest:
		return fmt.Errorf("firestore %s: %w: %w", op, docstore.ErrInvalid, err)
	case quota:
		return fmt.Errorf("firestore %s: %w: %w", op, docstore.ErrFull, err)
	case noDatabase:
		return fmt.Errorf("firestore %s: %w: %s does not exist: create it, for example by applying the Terraform", op, docstore.ErrUnavailable, d.database)
	case noPermission:
		return fmt.Errorf("firestore %s: %w: no access to %s: grant the service account roles/datastore.user: %w", op, docstore.ErrUnavailable, d.database, err)
	case unanswered, preconditionFailed, contended, noIndex:
	}
	if ended := ctx.Err(); ended != nil {
		return fmt.Errorf("firestore %s: %w", op, ended)
	}
	return fmt.Errorf("firestore %s: %w: %w", op, docstore.ErrUnavailable, err)
}
