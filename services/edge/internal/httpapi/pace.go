package httpapi

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"codexgateway.dev/pkg/errs"
)

const (
	// pacePiece is how much of an answer one write deadline is for.
	pacePiece = 64 << 10
	// paceRate is what a body must keep up after its grace, in bytes a second.
	paceRate = 1 << 10
)

// pacedWriter sets the write deadline anew for each piece it writes, so that
// an answer may be long but its reader not slow. It also knows what the answer
// was.
type pacedWriter struct {
	http.ResponseWriter

	rc     *http.ResponseController
	limit  time.Duration
	status int // 0: no answer has begun
}

// newPacedWriter paces every write to w, and the answer without a body.
func newPacedWriter(w http.ResponseWriter, limit time.Duration) *pacedWriter {
	p := &pacedWriter{ResponseWriter: w, rc: http.NewResponseController(w), limit: limit}
	p.arm()
	return p
}

// arm starts the deadline; a writer without deadlines, as in tests, has none.
func (w *pacedWriter) arm() { _ = w.rc.SetWriteDeadline(time.Now().Add(w.limit)) }

// finish leaves time for what the handler wrote and the server still holds: the
// server reads the rest of a body, which has its own deadline, before it flushes.
func (w *pacedWriter) finish(bodyGrace time.Duration) {
	w.begin(http.StatusOK)
	if w.status == http.StatusSwitchingProtocols {
		return // the connection is somebody else's
	}
	w.limit += bodyGrace
	w.arm()
}

// begun reports whether the answer, or another protocol, has begun.
func (w *pacedWriter) begun() bool { return w.status != 0 }

// begin notes the status of the answer, the first there is.
func (w *pacedWriter) begin(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// WriteHeader implements http.ResponseWriter.
func (w *pacedWriter) WriteHeader(status int) {
	w.begin(status)
	w.ResponseWriter.WriteHeader(status)
}

func (w *pacedWriter) Write(b []byte) (int, error) {
	w.begin(http.StatusOK)
	written := 0
	for {
		piece := b[written:min(len(b), written+pacePiece)]
		w.arm()
		n, err := w.ResponseWriter.Write(piece)
		written += n
		if err != nil || written == len(b) {
			return written, err
		}
	}
}

// FlushError is what http.ResponseController looks for.
func (w *pacedWriter) FlushError() error {
	w.begin(http.StatusOK)
	w.arm()
	return w.rc.Flush()
}

// Unwrap lets http.ResponseController find the connection.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// paceBody bounds the request's body in time, whoever reads it: the server reads
// what no route wants, without a deadline of its own, before it answers.
func (a *api) paceBody(w http.ResponseWriter, r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	paced := &pacedBody{ReadCloser: r.Body, began: time.Now(), grace: a.opt.BodyGrace, rc: http.NewResponseController(w)}
	paced.arm()
	r.Body = paced
}

// body bounds the request's body in size. A route that takes none has it read
// and dropped here, so that its connection can be used again.
func (a *api) body(limit int64, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
			next(w, r)
			return
		}
		if r.ContentLength > limit {
			a.failAs(w, r, tooLarge(limit))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		if r.Method != http.MethodPost {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				a.failBody(w, r, err)
				return
			}
		}
		next(w, r)
	}
}

// tooLarge is the refusal of a body over the limit.
func tooLarge(limit int64) *errs.Error {
	return errs.New(errs.PayloadTooLarge, "").With("limit_bytes", limit)
}

// failBody answers a body that could not be read. Where the next request would
// begin is not known.
func (a *api) failBody(w http.ResponseWriter, r *http.Request, err error) {
	w.Header().Set("Connection", "close")
	tooBig, over := errors.AsType[*http.MaxBytesError](err)
	switch {
	case over:
		a.failAs(w, r, tooLarge(tooBig.Limit))
	case errors.Is(err, os.ErrDeadlineExceeded):
		a.refuse(w, r, http.StatusRequestTimeout, errSlowBody)
	default:
		a.refuse(w, r, http.StatusBadRequest, errBrokenBody)
	}
}

// pacedBody sets the read deadline by how much has come.
type pacedBody struct {
	io.ReadCloser

	rc    *http.ResponseController
	began time.Time
	grace time.Duration
	n     int64
}

// arm lets the next byte take until the body's average would be below the rate.
func (b *pacedBody) arm() {
	deadline := b.began.Add(b.grace + time.Duration(b.n)*time.Second/paceRate)
	_ = b.rc.SetReadDeadline(deadline)
}

func (b *pacedBody) Read(p []byte) (int, error) {
	b.arm()
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	if errors.Is(err, io.EOF) {
		// The server watches the connection for its end from here on: a deadline
		// that passes then would end the request. After any other error it stays:
		// the server tries to read the rest.
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}
