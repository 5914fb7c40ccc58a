package wire

import (
	"errors"

	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/docstore"
)

// sentinels are the errors of both ports, by what they are called on the wire.
var sentinels = map[string]error{
	"docs.not_found":    docstore.ErrNotFound,
	"docs.unavailable":  docstore.ErrUnavailable,
	"docs.too_large":    docstore.ErrTooLarge,
	"docs.invalid":      docstore.ErrInvalid,
	"docs.full":         docstore.ErrFull,
	"bus.unknown_topic": bus.ErrUnknownTopic,
	"bus.too_large":     bus.ErrTooLarge,
	"bus.full":          bus.ErrFull,
	"bus.invalid":       bus.ErrInvalid,
	"bus.closed":        bus.ErrClosed,
	"bus.unavailable":   bus.ErrUnavailable,
}

// Error is a port's error on the wire.
type Error struct {
	// Kind is a key of sentinels; empty: an error the ports do not have.
	Kind    string
	Message string
	// Conflict is set for a failed precondition.
	Conflict *docstore.ConflictError
}

// FromError takes an error apart; nil stays nil.
func FromError(err error) *Error {
	if err == nil {
		return nil
	}
	out := &Error{Message: err.Error()}
	if errors.As(err, &out.Conflict) {
		return out
	}
	for kind, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			out.Kind = kind
		}
	}
	return out
}

// Err puts it together again: errors.Is and errors.As answer as they did at the
// other end.
func (e *Error) Err() error {
	switch {
	case e == nil:
		return nil
	case e.Conflict != nil:
		return &crossed{message: e.Message, cause: e.Conflict}
	case e.Kind != "":
		return &crossed{message: e.Message, cause: sentinels[e.Kind]}
	default:
		return errors.New(e.Message)
	}
}

// crossed is an error that came over the wire.
type crossed struct {
	message string
	cause   error
}

func (e *crossed) Error() string { return e.message }
func (e *crossed) Unwrap() error { return e.cause }
