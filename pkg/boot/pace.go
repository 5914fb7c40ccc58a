package boot

import (
	"io"
	"net/http"
	"time"
)

// bodyTimeout is how long a request's body may take to arrive.
const bodyTimeout = 30 * time.Second

// paced gives every request's body a deadline, and takes it away when the body
// is there: a handler may take minutes for its work, and a read deadline that
// passes meanwhile would end the request.
func paced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.ContentLength != 0 {
			conn := http.NewResponseController(w)
			if conn.SetReadDeadline(time.Now().Add(bodyTimeout)) == nil {
				r.Body = &pacedBody{r.Body, conn}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// pacedBody ends the deadline with the body.
type pacedBody struct {
	io.ReadCloser

	conn *http.ResponseController
}

// Read implements io.Reader.
func (b *pacedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.conn.SetReadDeadline(time.Time{}) // it could be set, so it can be reset
	}
	return n, err
}
