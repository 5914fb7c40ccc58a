package gcsblobs

import (
	"context"
	"errors"
	"net/http"

	"cloud.google.com/go/storage"
	"gocloud.dev/gcerrors"
	"google.golang.org/api/googleapi"
)

// bare takes off what the inner bucket put around an error: a second prefix,
// and a code that ErrorCode judges anew.
func bare(err error) error {
	// The error of a gocloud bucket unwraps to its cause and to its code.
	if coded, ok := err.(interface{ Unwrap() []error }); ok {
		if parts := coded.Unwrap(); len(parts) > 0 && parts[0] != nil {
			return parts[0]
		}
	}
	return err
}

// ErrorCode implements driver.Bucket. Other than gcsblob it looks through the
// errors that the library's retries wrap, and keeps "not allowed" apart from
// "not there".
func (*bucket) ErrorCode(err error) gcerrors.ErrorCode {
	if stalled := (*stalledError)(nil); errors.As(err, &stalled) {
		return gcerrors.DeadlineExceeded
	}
	switch {
	case errors.Is(err, context.Canceled):
		return gcerrors.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return gcerrors.DeadlineExceeded
	case errors.Is(err, storage.ErrObjectNotExist), errors.Is(err, storage.ErrBucketNotExist):
		return gcerrors.NotFound
	}
	answer := (*googleapi.Error)(nil)
	if !errors.As(err, &answer) {
		return gcerrors.Code(err)
	}
	switch answer.Code {
	case http.StatusBadRequest:
		return gcerrors.InvalidArgument
	case http.StatusUnauthorized, http.StatusForbidden:
		return gcerrors.PermissionDenied
	case http.StatusNotFound:
		return gcerrors.NotFound
	case http.StatusPreconditionFailed:
		return gcerrors.FailedPrecondition
	case http.StatusTooManyRequests:
		return gcerrors.ResourceExhausted
	}
	if answer.Code >= http.StatusInternalServerError {
		return gcerrors.Internal
	}
	return gcerrors.Unknown
}

// ErrorAs implements driver.Bucket.
func (*bucket) ErrorAs(err error, target any) bool {
	p, ok := target.(**googleapi.Error)
	return ok && errors.As(err, p)
}
