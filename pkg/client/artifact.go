package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/errs"
)

// downloadTimeout is the deadline of one artifact; a workspace may be large.
const downloadTimeout = 15 * time.Minute

// DownloadArtifact writes a job's artifact to w and checks its sha256. On an
// error w holds an unknown part of it and must be thrown away. A job without an
// artifact of that name answers errs.NotFound.
func (c *Client) DownloadArtifact(ctx context.Context, jobID, name string, w io.Writer) (apiv1.Artifact, error) {
	list, err := c.Artifacts(ctx, jobID)
	if err != nil {
		return apiv1.Artifact{}, err
	}
	for i := range list {
		if list[i].Name == name {
			return list[i], c.Fetch(ctx, &list[i], w)
		}
	}
	return apiv1.Artifact{}, &Error{
		Code: errs.NotFound, Message: fmt.Sprintf("job %s has no artifact %s", jobID, name),
	}
}

// Fetch writes an artifact of [Client.Artifacts] to w and checks size and
// sha256. The signed URL is fetched without the key: it may be another host's.
func (c *Client) Fetch(ctx context.Context, a *apiv1.Artifact, w io.Writer) error {
	ref, err := url.Parse(a.URL)
	if err != nil {
		return fmt.Errorf("client: artifact %s has no usable URL", a.Name) // a signed URL is a secret
	}
	target := c.base.ResolveReference(ref)
	if target.Scheme != "http" && target.Scheme != "https" {
		return fmt.Errorf("client: artifact %s has a URL of scheme %q", a.Name, target.Scheme)
	}
	getCtx, cancel := context.WithTimeoutCause(ctx, downloadTimeout, fmt.Errorf("not done within %s", downloadTimeout))
	defer cancel()
	req, err := http.NewRequestWithContext(getCtx, http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return fmt.Errorf("client: artifact %s has no usable URL", a.Name)
	}
	req.Header.Set("User-Agent", c.opt.UserAgent)
	op := "download " + a.Name
	resp, err := c.plain.Do(req)
	if err != nil {
		return c.transportError(ctx, getCtx, op, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fromHTTP(op, resp)
	}
	sum := sha256.New()
	// One byte more than promised, so that too much shows without reading it all.
	body := &readFailure{r: io.LimitReader(resp.Body, a.Size+1)}
	n, err := io.Copy(io.MultiWriter(w, sum), body)
	if body.err != nil {
		return c.transportError(ctx, getCtx, op, body.err)
	}
	if err != nil {
		return fmt.Errorf("client: %s: %w", op, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); n != a.Size || !strings.EqualFold(got, a.SHA256) {
		return fmt.Errorf("%w: %s is %d bytes %s, want %d bytes %s", ErrChecksum, a.Name, n, got, a.Size, a.SHA256)
	}
	return nil
}

// readFailure remembers why reading failed, to tell it from a failed write.
type readFailure struct {
	r   io.Reader
	err error
}

func (f *readFailure) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}
