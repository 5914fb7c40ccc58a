package embedded

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/gcerrors"

	"codexgateway.dev/pkg/errs"
)

// blobsPath is where the edge mounts the handler of signed URLs.
const blobsPath = "/blobs"

// keyBytes is the length of the key that signs URLs.
const keyBytes = 32

// openBlobs opens the bucket of files and the handler of its signed URLs.
func openBlobs(dir string, log *slog.Logger) (*blob.Bucket, http.Handler, error) {
	key, err := urlKey(filepath.Join(dir, "blob-url.key"))
	if err != nil {
		return nil, nil, fmt.Errorf("embedded: blobs: %w", err)
	}
	signer := fileblob.NewURLSignerHMAC(&url.URL{Path: blobsPath}, key)
	bucket, err := fileblob.OpenBucket(filepath.Join(dir, "blobs"), &fileblob.Options{
		URLSigner: signer,
		// Beside the blob: a rename across file systems would fail or copy.
		NoTempDir:   true,
		DirFileMode: 0o700,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("embedded: blobs: %w", err)
	}
	return bucket, &blobHandler{bucket: bucket, signer: signer, log: log}, nil
}

// urlKey returns the key in a file, which it creates once: URLs given out stay
// good over a restart. The caller holds the directory's lock.
func urlKey(file string) ([]byte, error) {
	key, err := os.ReadFile(file)
	if err == nil && len(key) != keyBytes {
		return nil, fmt.Errorf("%s has %d bytes instead of %d: remove it to get a new one", file, len(key), keyBytes)
	}
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	key = make([]byte, keyBytes)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	if err := writeWhole(file, key); err != nil {
		return nil, err
	}
	return key, nil
}

// writeWhole writes a new file aside, syncs and renames it, so that a crash
// leaves all of it or none.
func writeWhole(file string, data []byte) error {
	f, err := os.OpenFile(file+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// blobHandler serves signed URLs: GET and HEAD of one blob, until they expire.
type blobHandler struct {
	bucket *blob.Bucket
	signer fileblob.URLSigner
	log    *slog.Logger
}

// ServeHTTP implements http.Handler.
func (h *blobHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		problem(w, http.StatusMethodNotAllowed, errs.InvalidRequest, "Signed URLs are for GET and HEAD.")
		return
	}
	key, ok := h.verify(r)
	if !ok {
		// One answer for all reasons: it must not help to find the right URL.
		problem(w, http.StatusForbidden, errs.PermissionDenied, "The link is not valid or has expired.")
		return
	}
	blob, err := h.bucket.NewReader(r.Context(), key, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		problem(w, http.StatusNotFound, errs.NotFound, "The file is gone.")
		return
	}
	if err != nil {
		h.log.ErrorContext(r.Context(), "blob not readable", slog.String("key", key), slog.String("error", err.Error()))
		problem(w, http.StatusInternalServerError, errs.Internal, errs.Lookup(errs.Internal).Message)
		return
	}
	defer blob.Close()
	head := w.Header()
	head.Set("Content-Type", blob.ContentType())
	// The content is a job's: a browser may save it, never run or guess it, and
	// the URL, which is a capability, stays out of caches and referrers.
	head.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(key)}))
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	head.Set("Cache-Control", "private, no-store")
	head.Set("Referrer-Policy", "no-referrer")
	http.ServeContent(w, r, "", blob.ModTime(), blob)
}

// verify returns the key that the URL was signed for. The signer checks the
// signature and the expiry only; that the URL was signed for reading, and that
// no parameter is there twice (one signed, one not), is checked here.
func (h *blobHandler) verify(r *http.Request) (string, bool) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", false
	}
	for _, values := range query {
		if len(values) != 1 {
			return "", false
		}
	}
	key, err := h.signer.KeyFromURL(r.Context(), r.URL)
	return key, err == nil && key != "" && query.Get("method") == http.MethodGet
}

// problem writes an RFC 9457 problem with a registered code.
func problem(w http.ResponseWriter, status int, code errs.Code, detail string) {
	body, err := json.Marshal(struct {
		Type   string    `json:"type"`
		Title  string    `json:"title"`
		Status int       `json:"status"`
		Detail string    `json:"detail"`
		Code   errs.Code `json:"code"`
		// RequestID is whatever serves the handler has set.
		Retryable bool   `json:"retryable"`
		RequestID string `json:"request_id"`
	}{"about:blank", http.StatusText(status), status, detail, code, errs.Lookup(code).Retryable, w.Header().Get("X-Request-Id")})
	if err != nil { // strings and a number always encode
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone
}
