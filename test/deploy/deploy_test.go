package deploy

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

// root is the top of the repository.
const root = "../.."

// services are the programs with an image of their own; codexgw is the command
// line, which bootstraps emulators.
var services = []string{"codexgw", "edge", "notifier", "reconciler", "worker"}

func read(t *testing.T, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	// A key beside a merge (<<) that also has it is no mistake: it overrides.
	if err := yaml.UnmarshalWithOptions(raw, into, yaml.AllowDuplicateMapKey()); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

type build struct {
	Target string            `yaml:"target"`
	Args   map[string]string `yaml:"args"`
}

type service struct {
	Image       string            `yaml:"image"`
	Build       *build            `yaml:"build"`
	Environment map[string]string `yaml:"environment"`
	ReadOnly    bool              `yaml:"read_only"`    //nolint:tagliatelle // compose speaks so
	CapDrop     []string          `yaml:"cap_drop"`     //nolint:tagliatelle // compose speaks so
	SecurityOpt []string          `yaml:"security_opt"` //nolint:tagliatelle // compose speaks so
	Ports       []string          `yaml:"ports"`
}

type compose struct {
	Services map[string]service `yaml:"services"`
}

type artifact struct {
	Image  string `yaml:"image"`
	Docker struct {
		Target    string            `yaml:"target"`
		BuildArgs map[string]string `yaml:"buildArgs"`
	} `yaml:"docker"`
}

type skaffold struct {
	Build struct {
		Artifacts []artifact `yaml:"artifacts"`
	} `yaml:"build"`
	Profiles []struct {
		Name    string `yaml:"name"`
		Patches []struct {
			Path  string `yaml:"path"`
			Value struct {
				After []struct {
					Command []string `yaml:"command"`
				} `yaml:"after"`
			} `yaml:"value"`
		} `yaml:"patches"`
	} `yaml:"profiles"`
}

// built is what an image is made of, whoever says so.
type built struct{ Target, Service string }

func TestComposeAndSkaffoldBuildTheSameImages(t *testing.T) {
	t.Parallel()
	var c compose
	var s skaffold
	read(t, "docker-compose.yml", &c)
	read(t, "skaffold.yaml", &s)
	inCompose, inSkaffold := map[string]built{}, map[string]built{}
	for _, svc := range c.Services {
		if svc.Build != nil {
			inCompose[svc.Image] = built{svc.Build.Target, svc.Build.Args["SERVICE"]}
		}
	}
	for _, a := range s.Build.Artifacts {
		inSkaffold[a.Image] = built{a.Docker.Target, a.Docker.BuildArgs["SERVICE"]}
	}
	if d := cmp.Diff(inCompose, inSkaffold); d != "" {
		t.Errorf("docker-compose.yml and skaffold.yaml differ:\n%s", d)
	}
	dockerfile, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for image, b := range inCompose {
		if b.Target == "worker" { // the one that is not made of its service's program alone
			b.Service = b.Target
		}
		names = append(names, b.Service)
		if image != "codexgw-"+b.Service {
			t.Errorf("the image of %s is called %s", b.Service, image)
		}
		if !regexp.MustCompile(`(?m)^FROM \S+ AS ` + b.Target + `$`).Match(dockerfile) {
			t.Errorf("the Dockerfile has no stage %q", b.Target)
		}
		module := b.Service
		if module == "codexgw" {
			module = "standalone"
		}
		if _, err := os.Stat(filepath.Join(root, "services", module, "cmd", b.Service, "main.go")); err != nil {
			t.Error(err)
		}
	}
	slices.Sort(names)
	if d := cmp.Diff(services, names); d != "" {
		t.Errorf("images (-want +got):\n%s", d)
	}
}

func TestSkaffoldsHooksAreThere(t *testing.T) {
	t.Parallel()
	var c compose
	var s skaffold
	read(t, "docker-compose.yml", &c)
	read(t, "skaffold.yaml", &s)
	hooks := 0
	for _, p := range s.Profiles {
		for i, patch := range p.Patches {
			for _, h := range patch.Value.After {
				hooks++
				if st, err := os.Stat(filepath.Join(root, h.Command[0])); err != nil || st.Mode()&0o111 == 0 {
					t.Errorf("%s: %v, not a program", h.Command[0], err)
				}
				// The hook of the n-th image starts a service that runs this image.
				if svc, ok := c.Services[h.Command[1]]; !ok || svc.Image != s.Build.Artifacts[i].Image {
					t.Errorf("the hook of %s starts %s, which is no service of that image", s.Build.Artifacts[i].Image, h.Command[1])
				}
			}
		}
	}
	if hooks != len(s.Build.Artifacts) {
		t.Errorf("%d hooks for %d images", hooks, len(s.Build.Artifacts))
	}
}

func TestVariablesOfComposeExist(t *testing.T) {
	t.Parallel()
	var c compose
	read(t, "docker-compose.yml", &c)
	page, err := os.ReadFile(filepath.Join(root, "docs", "reference", "config.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for name, svc := range c.Services {
		for v := range svc.Environment {
			seen[v] = true
			known := strings.Contains(string(page), "| `"+v+"` |") || strings.HasPrefix(v, "CODEXGW_SECRET_") || v == "CODEXGW_PLATFORM"
			if !known {
				t.Errorf("%s sets %s, which is not in docs/reference/config.md", name, v)
			}
		}
	}
	if len(seen) < 10 {
		t.Errorf("only %v are set: the file was not understood", slices.Sorted(maps.Keys(seen)))
	}
}

func TestServicesInComposeAreConfined(t *testing.T) {
	t.Parallel()
	var c compose
	read(t, "docker-compose.yml", &c)
	for _, name := range []string{"edge", "worker", "notifier", "reconciler"} {
		svc := c.Services[name]
		if !svc.ReadOnly || !slices.Contains(svc.CapDrop, "ALL") || !slices.Contains(svc.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s: read-only %t, cap_drop %v, security_opt %v", name, svc.ReadOnly, svc.CapDrop, svc.SecurityOpt)
		}
		for _, p := range svc.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s publishes %s beyond this machine", name, p)
			}
		}
	}
}
