package e2e_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// repository is the root of the tree under test.
var repository = filepath.Join("..", "..")

// block is a fenced block of a page: what its fence says, and its text.
type block struct{ kind, name, text string }

// recipe is a section of a page that has blocks.
type recipe struct {
	title  string
	needs  bool // Node.js and the packages of test/npm
	blocks []block
}

// recipes reads the sections of a page, the first of which prepares the others.
func recipes(t *testing.T, page string) []recipe {
	t.Helper()
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var all []recipe
	var open *block
	for l := range strings.Lines(string(raw)) {
		fence, isFence := strings.CutPrefix(l, "```")
		title, isTitle := strings.CutPrefix(l, "## ")
		switch {
		case isFence && open != nil:
			r := &all[len(all)-1]
			r.blocks = append(r.blocks, *open)
			r.needs = r.needs || open.kind == "js"
			open = nil
		case isFence:
			kind, name, _ := strings.Cut(strings.TrimSpace(fence), " ")
			open = &block{kind: kind, name: name}
		case open != nil:
			open.text += l
		case isTitle:
			all = append(all, recipe{title: strings.TrimSpace(title)})
		}
	}
	if len(all) < 2 || len(all[0].blocks) != 1 {
		t.Fatalf("%s: %d sections", page, len(all))
	}
	return all
}

// haveTools skips a test of recipes where what they need is missing, which make
// setup brings.
func haveTools(t *testing.T, needNode bool) {
	t.Helper()
	tools := []string{"bash", "curl", "jq"}
	if needNode {
		tools = append(tools, "node")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("NOT RUN: " + tool + " is missing")
		}
	}
	if _, err := os.Stat(modules()); needNode && err != nil {
		t.Skip("NOT RUN: the npm packages are missing: make npm")
	}
}

func modules() string { return filepath.Join(repository, "test", "npm", "node_modules") }

// The recipes of docs/clients.md do what the page says, word for word. Some ask for
// the answer within the longest wait there is, and are not done if it does not come:
// so the test runs before all parallel ones, whose jobs fill the workers.
//
//nolint:tparallel // see above
func TestRecipesOfThePageForClients(t *testing.T) {
	g := shared(t)
	all := recipes(t, filepath.Join(repository, "docs", "clients.md"))
	for _, r := range all[1:] {
		t.Run(r.title, func(t *testing.T) {
			t.Parallel()
			haveTools(t, r.needs)
			dir := t.TempDir()
			if r.needs {
				packages, err := filepath.Abs(modules())
				if err == nil {
					err = os.Symlink(packages, filepath.Join(dir, "node_modules"))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			printed := ""
			for _, b := range r.blocks {
				switch b.kind {
				case "js":
					writeFile(t, filepath.Join(dir, b.name), b.text)
				case "sh":
					printed = g.shell(t, dir, all[0].blocks[0].text+b.text)
				case "text":
					if d := cmp.Diff(strings.Split(b.text, "\n"), strings.Split(printed, "\n")); d != "" {
						t.Errorf("it prints (-page +here)\n%s", d)
					}
				default:
					t.Errorf("a block of the kind %q: nobody knows what to do with it", b.kind)
				}
			}
			if last := r.blocks[len(r.blocks)-1]; last.kind != "text" {
				t.Errorf("the recipe ends with a block of the kind %q, want what it prints", last.kind)
			}
		})
	}
}

// shell runs a script as a reader of the page would, and returns what it printed.
func (g *gateway) shell(t *testing.T, dir, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), jobLimit, errors.New("the recipe did not end"))
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euc", script)
	cmd.Dir, cmd.Env = dir, environment(map[string]string{"CODEXGW_URL": g.anyURL(), "CODEXGW_API_KEY": g.key.Reveal()})
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\nstdout: %s\nstderr: %s", err, stdout.String(), stderr.String())
	}
	return stdout.String()
}
