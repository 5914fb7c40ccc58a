package job

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"gocloud.dev/gcerrors"

	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/id"
)

// inlineArtifactBytes is the size up to which a small artifact is in the job's
// document: of a short job that is its diff, its last message and its log. An
// upload costs as much as five documents written, and few artifacts are ever
// asked for. A document holds three of them at most, and lists read documents.
const inlineArtifactBytes = 8 << 10

// Artifact is a file a job left, as its document names it.
type Artifact struct {
	Name string `json:"name"`
	// Blob is where the file is, or will be when there is a link to it.
	Blob        string `json:"blob"`
	Size        int64  `json:"size"`
	ContentType string `json:"content_type"`
	SHA256      string `json:"sha256"`
	// Inline is a small file itself, see [Store.LinkArtifact].
	Inline []byte `json:"inline,omitempty"`
	// Frames index the log's artifact, so that a reader unpacks a part only.
	Frames []eventlog.Frame `json:"frames,omitempty"`
}

// inline reports whether the document has the file itself; an empty one is there
// with its size.
func (a *Artifact) inline() bool { return a.Inline != nil || a.Size == 0 }

// artifact finds an artifact that is written; nil: there is none.
func (j *Job) artifact(name string) *Artifact {
	i := slices.IndexFunc(j.Artifacts, func(a Artifact) bool { return a.Name == name && a.Blob != "" })
	if i < 0 {
		return nil
	}
	return &j.Artifacts[i]
}

// describe fills in blob, size and hash. The blob's name is of this call alone:
// a zombie must not overwrite what the winner's document names.
func (a *Artifact) describe(j *Job, data []byte) {
	sum := sha256.Sum256(data)
	a.Size, a.SHA256 = int64(len(data)), hex.EncodeToString(sum[:])
	a.Blob = fmt.Sprintf("%sa%d-%s/%s", BlobDir(j.Tenant, j.ID), j.Attempt, id.New(id.Claim)[4:12], a.Name)
}

// PutArtifact stores an artifact's bytes as a blob under a name of its own and
// returns it with blob, size and hash filled in. The document names it only when
// the job ends.
func (s *Store) PutArtifact(ctx context.Context, j *Job, a Artifact, data []byte) (Artifact, error) {
	a.describe(j, data)
	return a, s.putArtifact(ctx, &a, data)
}

// KeepArtifact is PutArtifact for what may stay in the document while it is
// small: who reads it must ask [Store.LinkArtifact] before the blob.
func (s *Store) KeepArtifact(ctx context.Context, j *Job, a Artifact, data []byte) (Artifact, error) {
	if len(data) > inlineArtifactBytes {
		return s.PutArtifact(ctx, j, a, data)
	}
	a.describe(j, data)
	a.Inline = data
	return a, nil
}

func (s *Store) putArtifact(ctx context.Context, a *Artifact, data []byte) error {
	if err := s.PutBlob(ctx, a.Blob, data); err != nil {
		return fmt.Errorf("job: write artifact %s: %w", a.Name, err)
	}
	return nil
}

// LinkArtifact makes sure that the blob of an artifact is there, for a link to
// it. Who asks twice at once writes the same bytes twice.
func (s *Store) LinkArtifact(ctx context.Context, a *Artifact) error {
	if !a.inline() {
		return nil
	}
	_, err := s.Blobs.Attributes(ctx, a.Blob)
	switch {
	case err == nil:
		return nil
	case gcerrors.Code(err) != gcerrors.NotFound:
		return fmt.Errorf("job: look for artifact %s: %w", a.Name, err)
	}
	return s.putArtifact(ctx, a, a.Inline)
}

// whole makes sure that an artifact is there, to the last byte.
func (s *Store) whole(ctx context.Context, a *Artifact) error {
	if a.inline() {
		return nil
	}
	attrs, err := s.Blobs.Attributes(ctx, a.Blob)
	if err != nil {
		return fmt.Errorf("look for artifact %s: %w", a.Name, err)
	}
	if attrs.Size != a.Size {
		return fmt.Errorf("artifact %s has %d bytes, want %d", a.Name, attrs.Size, a.Size)
	}
	return nil
}
