package gcsblobs

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"path"
	"sync"
	"time"

	"cloud.google.com/go/compute/metadata"
	"cloud.google.com/go/storage"
	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iamcredentials/v1"
	"google.golang.org/api/option"

	"codexgateway.dev/pkg/wait"
)

// SignedURL implements driver.Bucket: a V4 signed URL. A link for reading makes
// the browser save the content under the blob's own name: what a job produced
// must never be shown as a page.
func (b *bucket) SignedURL(ctx context.Context, key string, opts *driver.SignedURLOptions) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	email, err := b.signer.email(ctx)
	if err != nil {
		return "", err
	}
	link, err := b.inner.SignedURL(ctx, key, &blob.SignedURLOptions{
		Expiry: opts.Expiry, Method: opts.Method, ContentType: opts.ContentType, EnforceAbsentContentType: opts.EnforceAbsentContentType,
		BeforeSign: func(as func(any) bool) error {
			var o *storage.SignedURLOptions
			if !as(&o) {
				return errors.New("gcsblobs: no options to sign")
			}
			o.Scheme = storage.SigningSchemeV4
			o.Expires = b.now().Add(opts.Expiry)
			o.GoogleAccessID = email
			o.SignBytes = func(p []byte) ([]byte, error) { return b.signer.sign(ctx, p) }
			if b.links != "" {
				o.Hostname, o.Insecure = b.links, true
			}
			if opts.Method == http.MethodGet {
				o.QueryParameters = url.Values{"response-content-disposition": {
					mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(key)}),
				}}
			}
			if opts.BeforeSign != nil {
				return opts.BeforeSign(as)
			}
			return nil
		},
	})
	if err != nil {
		return "", bare(err)
	}
	return link, nil
}

// signer signs links in the name of a service account.
type signer interface {
	email(ctx context.Context) (string, error)
	// sign returns the RSASSA-PKCS1-v1_5 signature of the SHA-256 hash of p.
	sign(ctx context.Context, p []byte) ([]byte, error)
}

func newSigner(ctx context.Context, hc *http.Client, cfg *Config) (signer, error) {
	switch {
	case !cfg.SignerKey.Empty():
		return parseKey([]byte(cfg.SignerKey.Reveal()))
	case cfg.Emulator != "":
		return &keySigner{account: "emulator@codexgateway.invalid"}, nil
	}
	options := []option.ClientOption{option.WithHTTPClient(hc)}
	if cfg.SignerEndpoint != "" {
		options = append(options, option.WithEndpoint(cfg.SignerEndpoint))
	}
	service, err := iamcredentials.NewService(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("IAM credentials: %w", err)
	}
	return &iamSigner{service: service.Projects.ServiceAccounts, known: cfg.SignerEmail}, nil
}

// keySigner signs with a key. Without one it makes itself a throw-away key at
// its first signature, since an emulator checks none.
type keySigner struct {
	account string
	make    sync.Once
	key     *rsa.PrivateKey
	err     error
}

// parseKey reads a service-account key file. Its errors show nothing of it.
func parseKey(file []byte) (*keySigner, error) {
	var content struct {
		Email string `json:"client_email"`
		Key   string `json:"private_key"`
	}
	if err := json.Unmarshal(file, &content); err != nil || content.Email == "" || content.Key == "" {
		return nil, errors.New("the signer key is not a service-account key file with client_email and private_key")
	}
	block, _ := pem.Decode([]byte(content.Key))
	if block == nil {
		return nil, errors.New("private_key of the signer key is not PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, errors.New("private_key of the signer key is not an RSA key")
	}
	return &keySigner{account: content.Email, key: key}, nil
}

func (s *keySigner) email(context.Context) (string, error) { return s.account, nil }

func (s *keySigner) sign(_ context.Context, p []byte) ([]byte, error) {
	s.make.Do(func() {
		if s.key == nil {
			s.key, s.err = rsa.GenerateKey(rand.Reader, 2048)
		}
	})
	if s.err != nil {
		return nil, fmt.Errorf("sign: %w", s.err)
	}
	sum := sha256.Sum256(p)
	return rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
}

// iamSigner signs through the IAM Credentials API, which holds the key.
type iamSigner struct {
	service *iamcredentials.ProjectsServiceAccountsService

	mu    sync.Mutex
	known string
}

func (s *iamSigner) email(ctx context.Context) (string, error) {
	s.mu.Lock()
	known := s.known
	s.mu.Unlock()
	if known != "" {
		return known, nil
	}
	known, err := metadata.NewClient(nil).EmailWithContext(ctx, "default")
	if err != nil {
		return "", fmt.Errorf("no service account to sign links with: set CODEXGW_SIGNER_EMAIL: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = known
	return known, nil
}

// signPause is the first pause before a signature is asked for again.
const signPause = 100 * time.Millisecond

func (s *iamSigner) sign(ctx context.Context, p []byte) ([]byte, error) {
	email, err := s.email(ctx)
	if err != nil {
		return nil, err
	}
	request := &iamcredentials.SignBlobRequest{Payload: base64.StdEncoding.EncodeToString(p)}
	for try := range attempts {
		var signed *iamcredentials.SignBlobResponse
		signed, err = s.service.SignBlob("projects/-/serviceAccounts/"+email, request).Context(ctx).Do()
		if err == nil {
			return base64.StdEncoding.DecodeString(signed.SignedBlob)
		}
		answer := (*googleapi.Error)(nil)
		passing := errors.As(err, &answer) && (answer.Code == http.StatusTooManyRequests || answer.Code >= http.StatusInternalServerError)
		if !passing || !wait.For(ctx, signPause<<try) {
			break
		}
	}
	return nil, fmt.Errorf("sign a link as %s (needs iam.serviceAccounts.signBlob on itself): %w", email, err)
}
