package gcsblobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"cloud.google.com/go/storage"
	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// bucket is a driver on top of gcsblob's bucket.
type bucket struct {
	name   string
	inner  *blob.Bucket
	client *storage.Client
	signer signer
	now    func() time.Time
	// links is where links lead over plain HTTP; empty: to the real service.
	links string
	// idle closes connections that nobody uses.
	idle func()
}

var _ driver.Bucket = (*bucket)(nil)

// As implements driver.Bucket.
func (b *bucket) As(i any) bool { return b.inner.As(i) }

// Close implements driver.Bucket.
func (b *bucket) Close() error {
	err := errors.Join(b.inner.Close(), b.client.Close())
	b.idle()
	return err
}

// Attributes implements driver.Bucket.
func (b *bucket) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	a, err := b.inner.Attributes(ctx, key)
	if err != nil {
		return nil, bare(err)
	}
	return &driver.Attributes{
		CacheControl: a.CacheControl, ContentDisposition: a.ContentDisposition, ContentEncoding: a.ContentEncoding,
		ContentLanguage: a.ContentLanguage, ContentType: a.ContentType, Metadata: a.Metadata, CreateTime: a.CreateTime,
		ModTime: a.ModTime, Size: a.Size, MD5: a.MD5, ETag: a.ETag, AsFunc: a.As,
	}, nil
}

// ListPaged implements driver.Bucket. It is also the bucket's health check.
func (b *bucket) ListPaged(ctx context.Context, opts *driver.ListOptions) (*driver.ListPage, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	token := opts.PageToken
	if len(token) == 0 {
		token = blob.FirstPageToken
	}
	size := opts.PageSize
	if size == 0 {
		size = 1000
	}
	found, next, err := b.inner.ListPage(ctx, token, size, &blob.ListOptions{
		Prefix: opts.Prefix, Delimiter: opts.Delimiter, BeforeList: opts.BeforeList,
	})
	if err != nil {
		return nil, b.hint(bare(err))
	}
	page := &driver.ListPage{NextPageToken: next, Objects: make([]*driver.ListObject, len(found))}
	for i, o := range found {
		page.Objects[i] = &driver.ListObject{Key: o.Key, ModTime: o.ModTime, Size: o.Size, MD5: o.MD5, IsDir: o.IsDir, AsFunc: o.As}
	}
	return page, nil
}

// hint says what to do about a bucket that cannot be listed.
func (b *bucket) hint(err error) error {
	//exhaustive:ignore // the other codes speak for themselves
	switch b.ErrorCode(err) {
	case gcerrors.NotFound:
		return fmt.Errorf("bucket %s does not exist: run `codexgw bootstrap` (emulators) or apply the Terraform: %w", b.name, err)
	case gcerrors.PermissionDenied:
		return fmt.Errorf("bucket %s is not open to this service account: grant it roles/storage.objectUser: %w", b.name, err)
	default:
		return fmt.Errorf("bucket %s: %w", b.name, err)
	}
}

// reader is the inner bucket's reader.
type reader struct{ *blob.Reader }

func (r reader) Attributes() *driver.ReaderAttributes {
	return &driver.ReaderAttributes{ContentType: r.ContentType(), ModTime: r.ModTime(), Size: r.Size()}
}

func (r reader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = bare(err)
	}
	return n, err
}

// NewRangeReader implements driver.Bucket.
func (b *bucket) NewRangeReader(ctx context.Context, key string, offset, length int64, opts *driver.ReaderOptions) (driver.Reader, error) {
	r, err := b.inner.NewRangeReader(ctx, key, offset, length, &blob.ReaderOptions{BeforeRead: opts.BeforeRead})
	if err != nil {
		return nil, bare(err)
	}
	return reader{r}, nil
}

// Copy implements driver.Bucket.
func (b *bucket) Copy(ctx context.Context, dst, src string, opts *driver.CopyOptions) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := b.inner.Copy(ctx, dst, src, &blob.CopyOptions{BeforeCopy: opts.BeforeCopy}); err != nil {
		return bare(err)
	}
	return nil
}

// Delete implements driver.Bucket.
func (b *bucket) Delete(ctx context.Context, key string, opts *driver.DeleteOptions) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := b.inner.DeleteWithOptions(ctx, key, &blob.DeleteOptions{BeforeDelete: opts.BeforeDelete}); err != nil {
		return bare(err)
	}
	return nil
}
