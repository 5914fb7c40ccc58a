package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/client"
)

const (
	// maxPrompt is the gateway's limit in characters, maxPromptBytes the same in bytes.
	maxPrompt      = 1 << 20
	maxPromptBytes = maxPrompt * utf8.UTFMax
	// maxRequest is the gateway's limit of a request, images included.
	maxRequest = 8 << 20
	// maxFile bounds a file that is sent along.
	maxFile = maxRequest
)

// submitFlags are the flags of submit.
type submitFlags struct {
	repo, ref, session, schema, model string
	sandbox, idempotencyKey           string
	images, metadata                  []string
	network, watch, asJSON            bool
	timeout                           time.Duration
}

func (a *app) submitCommand() *cobra.Command {
	var f submitFlags
	cmd := &cobra.Command{
		Use:   "submit PROMPT",
		Short: "Submit a prompt as a job",
		Long: `Submit a prompt and print the job's id, or follow the job with --watch.
The prompt - is read from standard input.`,
		Example: `  codexgw submit --watch 'fix the failing test' --repo https://github.com/me/app --ref main
  codexgw submit - --session review < prompt.md
  codexgw submit 'list the public functions' --schema schema.json --watch --json`,
		Args: oneArg("PROMPT", "'fix the failing test'"),
		RunE: a.calling(func(ctx context.Context, c *client.Client, args []string) error {
			params, err := f.params(args[0], a.Stdin)
			if err != nil {
				return err
			}
			return a.submit(ctx, c, params, &f)
		}),
	}
	fl := cmd.Flags()
	fl.StringVar(&f.repo, "repo", "", "the repository to work on (https, ssh or scp-like `URL`)")
	fl.StringVar(&f.ref, "ref", "", "a branch, tag or commit of the repository")
	fl.StringVar(&f.session, "session", "", "your `NAME` for the conversation, created on first use")
	fl.StringVar(&f.schema, "schema", "", "a JSON Schema `FILE` that the answer must match")
	fl.StringArrayVar(&f.images, "image", nil, "an image `FILE` to send along (repeatable)")
	fl.StringVar(&f.model, "model", "", "the model")
	fl.BoolVar(&f.watch, "watch", false, "follow the job to its end")
	fl.DurationVar(&f.timeout, "timeout", 0, "how long the job may run, such as 10m (default 30m, at most 6h)")
	fl.StringVar(&f.sandbox, "sandbox", "", "read-only or workspace-write")
	fl.BoolVar(&f.network, "network", false, "let the job's commands use the network")
	fl.StringArrayVar(&f.metadata, "metadata", nil, "a `KEY=VALUE` to keep with the job (repeatable)")
	fl.StringVar(&f.idempotencyKey, "idempotency-key", "", "submitting again with the same key and parameters is submitting once")
	fl.BoolVar(&f.asJSON, "json", false, "print JSON: the result, or with --watch each event on a line")
	return cmd
}

func (a *app) submit(ctx context.Context, c *client.Client, params apiv1.PromptParams, f *submitFlags) error {
	prompted, err := c.Prompt(ctx, params)
	if err != nil {
		return err
	}
	if prompted.Replayed {
		a.note("this prompt was submitted before with the same idempotency key; it is the same job")
	}
	jobID := prompted.JobID()
	switch {
	case f.watch:
		return a.follow(ctx, c, jobID, 0, f.asJSON)
	case f.asJSON:
		return a.printRaw(prompted.Raw)
	}
	if err := a.table([][]string{{jobID}}); err != nil {
		return err
	}
	a.note("follow it with: codexgw watch %s", jobID)
	return nil
}

// params makes the request of the flags.
func (f *submitFlags) params(prompt string, stdin io.Reader) (apiv1.PromptParams, error) {
	p := apiv1.PromptParams{
		SessionID: f.session, Model: f.model, Sandbox: f.sandbox, Network: f.network, IdempotencyKey: f.idempotencyKey,
	}
	var err error
	if p.Prompt, err = readPrompt(prompt, stdin); err != nil {
		return p, err
	}
	switch {
	case f.repo != "":
		p.Repo = &apiv1.Repo{URL: f.repo, Ref: f.ref}
	case f.ref != "":
		return p, usagef("--ref without --repo").hint("Say which repository: --repo URL.")
	}
	if f.timeout != 0 {
		if f.timeout < time.Second || f.timeout%time.Second != 0 {
			return p, usagef("--timeout %s is not a whole number of seconds", f.timeout).hint("Such as --timeout 90s or --timeout 10m.")
		}
		p.TimeoutS = int(f.timeout / time.Second)
	}
	if p.Metadata, err = keyValues(f.metadata); err != nil {
		return p, err
	}
	if f.schema != "" {
		if p.OutputSchema, err = readSchema(f.schema); err != nil {
			return p, err
		}
	}
	size := len(p.Prompt) + len(p.OutputSchema)
	for _, name := range f.images {
		image, err := readImage(name)
		if err != nil {
			return p, err
		}
		p.Images = append(p.Images, image)
		size += len(image)
	}
	if size > maxRequest {
		return p, usagef("prompt, schema and images are %d MiB together, the gateway takes %d MiB", size>>20, maxRequest>>20).
			hint("Send fewer or smaller images.")
	}
	return p, nil
}

func readPrompt(arg string, stdin io.Reader) (string, error) {
	prompt := arg
	if arg == "-" {
		raw, err := io.ReadAll(io.LimitReader(stdin, maxPromptBytes+1))
		if err != nil {
			return "", fmt.Errorf("read the prompt: %w", err)
		}
		prompt = string(raw)
	}
	switch {
	case strings.TrimSpace(prompt) == "":
		return "", usagef("the prompt is empty").hint("Such as: codexgw submit 'fix the failing test'")
	case !utf8.ValidString(prompt):
		return "", usagef("the prompt is not UTF-8 text").hint("Convert it, such as with iconv.")
	case utf8.RuneCountInString(prompt) > maxPrompt:
		return "", usagef("the prompt is longer than %d characters", maxPrompt).hint("Put long input into a file of the repository.")
	}
	return prompt, nil
}

func keyValues(list []string) (map[string]string, error) {
	if len(list) == 0 {
		return nil, nil //nolint:nilnil // no metadata is no error
	}
	out := make(map[string]string, len(list))
	for _, kv := range list {
		key, value, ok := strings.Cut(kv, "=")
		if !ok || key == "" {
			return nil, usagef("--metadata %q is not KEY=VALUE", kv).hint("Such as --metadata ticket=1234.")
		}
		if _, twice := out[key]; twice {
			return nil, usagef("--metadata %s is given twice", key)
		}
		out[key] = value
	}
	return out, nil
}

// readFile reads a file that is sent along.
func readFile(flag, name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, usagef("%s: %s", flag, err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, usagef("%s: %s", flag, err)
	}
	if len(raw) > maxFile {
		return nil, usagef("%s: %s is larger than %d MiB", flag, name, maxFile>>20)
	}
	return raw, nil
}

func readSchema(name string) (json.RawMessage, error) {
	raw, err := readFile("--schema", name)
	if err != nil {
		return nil, err
	}
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, usagef("--schema: %s is not JSON: %s at byte %d", name, err, syntax.Offset)
		}
		return nil, usagef("--schema: %s is not a JSON object", name).hint(`A schema looks like {"type":"object","properties":{…}}.`)
	}
	return raw, nil
}

// readImage makes a data: URI of a file.
func readImage(name string) (string, error) {
	raw, err := readFile("--image", name)
	if err != nil {
		return "", err
	}
	// What the bytes are counts more than what the file is called.
	media := http.DetectContentType(raw)
	if !strings.HasPrefix(media, "image/") {
		media, _, _ = strings.Cut(mime.TypeByExtension(filepath.Ext(name)), ";")
	}
	if !strings.HasPrefix(media, "image/") {
		return "", usagef("--image: %s is not an image", name).hint("PNG, JPEG, GIF and WebP are recognised.")
	}
	return "data:" + media + ";base64," + base64.StdEncoding.EncodeToString(raw), nil
}
