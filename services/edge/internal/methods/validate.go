package methods

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/idempotency"
	"codexgateway.dev/pkg/job"
)

// Limits of a prompt's params.
const (
	maxPromptChars   = 1 << 20
	maxNameBytes     = 255 // session_id, conversation_id, repo.ref
	maxMetadata      = 16
	maxMetadataKey   = 64
	maxMetadataValue = 512
	maxImages        = 32
	maxPriority      = 100
	maxWait          = 60
	maxCallback      = 2048
)

// modelName is the charset of model names: they end up in a request to the
// model and in Codex's configuration.
var modelName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$`)

// rule checks one field; it returns what is wrong, empty if nothing is.
type rule struct {
	field string
	wrong func(p *apiv1.PromptParams) string
}

// promptRules are checked in order; the first that fails is reported. Repo,
// images and metadata have checks of their own because they name inner fields.
var promptRules = []rule{
	{"/prompt", func(p *apiv1.PromptParams) string {
		switch {
		case strings.TrimSpace(p.Prompt) == "":
			return "A prompt is required."
		case utf8.RuneCountInString(p.Prompt) > maxPromptChars:
			return fmt.Sprintf("At most %d characters are allowed.", maxPromptChars)
		}
		return ""
	}},
	{"/conversation_id", func(p *apiv1.PromptParams) string {
		if p.SessionID != "" && p.ConversationID != "" {
			return "Give session_id or conversation_id, not both."
		}
		return name(p.ConversationID)
	}},
	{"/session_id", func(p *apiv1.PromptParams) string { return name(p.SessionID) }},
	{"/model", func(p *apiv1.PromptParams) string {
		if p.Model != "" && !modelName.MatchString(p.Model) {
			return "A model name has 1 to 128 letters, digits and . _ : / @ + -."
		}
		return ""
	}},
	{"/effort", func(p *apiv1.PromptParams) string {
		return oneOf(p.Effort, "minimal", "low", "medium", "high", "xhigh")
	}},
	{"/output_schema", func(p *apiv1.PromptParams) string {
		if raw := p.OutputSchema; !absent(raw) && raw[0] != '{' {
			return "This parameter must be a JSON object."
		}
		return ""
	}},
	{"/sandbox", func(p *apiv1.PromptParams) string { return oneOf(p.Sandbox, "read-only", "workspace-write") }},
	{"/approval_policy", func(p *apiv1.PromptParams) string {
		if bad := oneOf(p.ApprovalPolicy, "never", "on-request", "untrusted"); bad != "" {
			return bad
		}
		if p.ApprovalPolicy != "" && p.ApprovalPolicy != "never" {
			return "This gateway serves no approvals yet: only never is possible."
		}
		return ""
	}},
	{"/timeout_s", func(p *apiv1.PromptParams) string {
		if limit := int(job.MaxTimeout / time.Second); p.TimeoutS < 0 || p.TimeoutS > limit {
			return fmt.Sprintf("This parameter must be 1 to %d seconds.", limit)
		}
		return ""
	}},
	{"/priority", func(p *apiv1.PromptParams) string {
		if p.Priority < -maxPriority || p.Priority > maxPriority {
			return fmt.Sprintf("This parameter must be %d to %d.", -maxPriority, maxPriority)
		}
		return ""
	}},
	{"/callback_url", func(p *apiv1.PromptParams) string { return callback(p.CallbackURL) }},
	{"/idempotency_key", func(p *apiv1.PromptParams) string { return idempotencyName(p.IdempotencyKey) }},
	{"/wait", func(p *apiv1.PromptParams) string {
		if p.Wait < 0 || p.Wait > maxWait {
			return fmt.Sprintf("This parameter must be 0 to %d seconds.", maxWait)
		}
		return ""
	}},
}

// validatePrompt checks params that are well formed by themselves and returns
// the job they ask for. Its errors are invalid_params with the field's path.
func validatePrompt(p *apiv1.PromptParams, allowFile bool) (job.Spec, error) {
	for _, r := range promptRules {
		if bad := r.wrong(p); bad != "" {
			return job.Spec{}, errs.Param(r.field, bad)
		}
	}
	for _, check := range []func() error{
		func() error { return checkImages(p.Images) },
		func() error { return checkMetadata(p.Metadata) },
		func() error { return checkRepo(p.Repo, allowFile) },
	} {
		if err := check(); err != nil {
			return job.Spec{}, err
		}
	}
	spec := job.Spec{
		Prompt: p.Prompt, Model: p.Model, Effort: p.Effort, Images: p.Images,
		Sandbox: p.Sandbox, Network: p.Network, ApprovalPolicy: p.ApprovalPolicy,
		Timeout: time.Duration(p.TimeoutS) * time.Second, Priority: p.Priority, Metadata: p.Metadata,
	}
	if !absent(p.OutputSchema) {
		spec.OutputSchema = p.OutputSchema
	}
	if p.Repo != nil {
		spec.Repo = &job.Repo{URL: p.Repo.URL, Ref: p.Repo.Ref, Subdir: p.Repo.Subdir}
	}
	return spec, nil
}

// absent reports whether a raw parameter was left out or is null.
func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// oneOf checks an optional enumeration.
func oneOf(v string, allowed ...string) string {
	if v == "" || slices.Contains(allowed, v) {
		return ""
	}
	return "This parameter must be one of " + strings.Join(allowed, ", ") + "."
}

// name checks an optional name: it is indexed and shown.
func name(s string) string {
	if len(s) > maxNameBytes {
		return fmt.Sprintf("At most %d bytes are allowed.", maxNameBytes)
	}
	if hasControl(s) {
		return "Control characters are not allowed."
	}
	if !utf8.ValidString(s) {
		return "The text must be UTF-8."
	}
	return ""
}

// idempotencyName checks an optional idempotency key.
func idempotencyName(s string) string {
	if len(s) > idempotency.MaxKey {
		return fmt.Sprintf("At most %d bytes are allowed.", idempotency.MaxKey)
	}
	return name(s)
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

// callback refuses every callback URL, and says first what would be wrong with
// it in any case.
func callback(s string) string {
	switch {
	case s == "":
		return ""
	case len(s) > maxCallback || !strings.HasPrefix(s, "https://") || hasControl(s):
		return "This parameter must be an https URL."
	default:
		return "This gateway serves no callbacks yet: watch the job or use wait."
	}
}

// imageTypes are the images models take.
var imageTypes = []string{"image/png", "image/jpeg", "image/gif", "image/webp"}

func checkImages(images []string) error {
	if len(images) > maxImages {
		return errs.Param("/images", fmt.Sprintf("At most %d images are allowed.", maxImages))
	}
	for i, img := range images {
		if bad := wrongImage(img); bad != "" {
			return errs.Param(fmt.Sprintf("/images/%d", i), bad)
		}
	}
	return nil
}

// wrongImage checks one image: data:<type>;base64,<data>.
func wrongImage(img string) string {
	rest, ok := strings.CutPrefix(img, "data:")
	if !ok {
		if strings.HasPrefix(img, "file_") {
			return "This gateway serves no file ids yet: use a data: URI."
		}
		return "An image must be a data: URI."
	}
	head, data, ok := strings.Cut(rest, ",")
	mediaType, isBase64 := strings.CutSuffix(head, ";base64")
	if !ok || !isBase64 {
		return "A data: URI must be base64."
	}
	if oneOf(mediaType, imageTypes...) != "" || mediaType == "" {
		return "An image must be one of " + strings.Join(imageTypes, ", ") + "."
	}
	if n, err := base64.StdEncoding.DecodeString(data); err != nil || len(n) == 0 {
		return "The data of the image is not base64."
	}
	return ""
}

func checkMetadata(m map[string]string) error {
	if len(m) > maxMetadata {
		return errs.Param("/metadata", fmt.Sprintf("At most %d pairs are allowed.", maxMetadata))
	}
	for k, v := range m {
		switch {
		case k == "":
			return errs.Param("/metadata", "A key must not be empty.")
		case len(k) > maxMetadataKey:
			return errs.Param("/metadata", fmt.Sprintf("A key has at most %d bytes.", maxMetadataKey))
		case len(v) > maxMetadataValue:
			return errs.Param("/metadata/"+escape(k), fmt.Sprintf("A value has at most %d bytes.", maxMetadataValue))
		}
	}
	return nil
}

// escape makes a name one step of a JSON pointer (RFC 6901).
func escape(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
