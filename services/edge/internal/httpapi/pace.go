package httpapi

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/gin-gonic/gin"

	"codexgateway.dev/pkg/errs"
)

const (
	// pacePiece is how much of an answer one write deadline is for.
	pacePiece = 64 << 10
	// paceRate is what a body must keep up after its grace, in bytes a second.
	paceRate = 1 << 10
)

// pace gives every write of every route a deadline.
func (a *api) pace(c *gin.Context) {
	w := &pacedWriter{ResponseWriter: c.Writer, limit: a.opt.WriteTimeout}
	w.rc = http.NewResponseController(unwrap(c.Writer))
	c.Writer = w
	w.arm() // for answers without a body
	c.Next()
	if c.Writer.Status() == http.StatusSwitchingProtocols {
		return // the connection is somebody else's
	}
	// What the handler wrote may still be in the server's buffer, and the server
	// reads the rest of a body, which has its own deadline, before it flushes.
	w.limit += a.opt.BodyGrace
	w.arm()
}

// unwrap is the writer below gin's, whose Flush reports errors.
func unwrap(w http.ResponseWriter) http.ResponseWriter {
	if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		return u.Unwrap()
	}
	return w
}

// pacedWriter sets the write deadline anew for each piece it writes, so that
// an answer may be long but its reader not slow.
type pacedWriter struct {
	gin.ResponseWriter

	rc    *http.ResponseController
	limit time.Duration
}

// arm starts the deadline; a writer without deadlines, as in tests, has none.
func (w *pacedWriter) arm() { _ = w.rc.SetWriteDeadline(time.Now().Add(w.limit)) }

func (w *pacedWriter) Write(b []byte) (int, error) {
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

func (w *pacedWriter) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// FlushError is what http.ResponseController looks for.
func (w *pacedWriter) FlushError() error {
	w.WriteHeaderNow()
	w.arm()
	return w.rc.Flush()
}

// Unwrap lets http.ResponseController find the connection.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return unwrap(w.ResponseWriter) }

// body bounds the request's body in size and in time. A route that takes none
// has it read and dropped here, so that its connection can be used again.
func (a *api) body(limit int64) gin.HandlerFunc {
	return func(c *gin.Context) {
		r := c.Request
		if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
			return
		}
		if r.ContentLength > limit {
			a.failAs(c, tooLarge(limit))
			return
		}
		paced := &pacedBody{
			ReadCloser: r.Body, began: time.Now(), grace: a.opt.BodyGrace,
			rc: http.NewResponseController(unwrap(c.Writer)),
		}
		paced.arm()
		r.Body = http.MaxBytesReader(c.Writer, paced, limit)
		if r.Method == http.MethodPost {
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			a.failBody(c, err)
		}
	}
}

// tooLarge is the refusal of a body over the limit.
func tooLarge(limit int64) *errs.Error {
	return errs.New(errs.PayloadTooLarge, "").With("limit_bytes", limit)
}

// failBody answers a body that could not be read.
func (a *api) failBody(c *gin.Context, err error) {
	tooBig, over := errors.AsType[*http.MaxBytesError](err)
	switch {
	case over:
		a.failAs(c, tooLarge(tooBig.Limit))
	case errors.Is(err, os.ErrDeadlineExceeded):
		a.refuse(c, http.StatusRequestTimeout, errSlowBody)
	default:
		a.refuse(c, http.StatusBadRequest, errBrokenBody)
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
	if err != nil {
		// The server watches the connection for its end from here on: a deadline
		// that passes then would end the request.
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}
