package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/mockmodel"
	"codexgateway.dev/pkg/secret"
)

// canary is the model key of a gateway whose jobs look for it, canaryPepper what
// the keys of its tenants are stored under.
const (
	canary       = "sk-canary-3f9c2d7b61e84a05"
	canaryPepper = "pepper-canary-5d2a9b8c7e6f4031a2b3c4d5"
)

// jobTokenPrefix begins the token that a job's Codex holds for the broker.
const jobTokenPrefix = "cgwjob_"

// thief is a command that prints all that a job could find of the gateway's
// secrets: its environment, those of other processes, files, and a few answers
// of the network.
func thief(g *gateway) string {
	return strings.Join([]string{
		"env",
		"cat /proc/[0-9]*/environ | tr '\\0' '\\n'",
		"cat /proc/[0-9]*/cmdline | tr '\\0' ' '",
		"ls -laR /codex-home /tmp /run /var /home /root /workspace " + filepath.Dir(g.dir),
		"cat " + g.dir + "/admin.key " + g.dir + "/secrets/* " + g.dir + "/gateway.db",
		"find / -xdev -name 'admin.key*' -o -xdev -name 'openai-api-key*' -exec cat {} +",
		"grep -rhoa -e sk-canary-[0-9a-f]* -e " + jobTokenPrefix + "[A-Z0-9]* /codex-home /tmp /etc /workspace",
		"curl -sm2 " + g.url + "/health",
		"echo the-thief-is-done",
	}, "; ") + " 2>&1"
}

// secretsOf are the texts that no job, log or file may hold.
func secretsOf(g *gateway) map[string]string {
	return map[string]string{"the model key": canary, "the admin key": g.key.Reveal(), "a job's token": jobTokenPrefix}
}

func TestSecretsStayWhereTheyBelong(t *testing.T) {
	t.Parallel()
	needProc(t)
	m := model(t, mockmodel.Options{Token: secret.NewValue(canary), Record: 50})
	g := start(t, options{realModel: true, env: map[string]string{
		"OPENAI_API_KEY": canary, "CODEXGW_MODEL_BASE_URL": m.BaseURL(), "CODEXGW_LOG_LEVEL": "debug",
		"CODEXGW_SECRET_KEY_PEPPER": canaryPepper,
	}})
	tenant, err := g.CreateKey(t.Context(), apiv1.KeyCreateParams{Tenant: "secrets-e2e"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keyed(t, g, tenant.Secret).Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	secrets := secretsOf(g)
	secrets["a tenant's key"], secrets["the pepper"] = tenant.Secret, canaryPepper
	if !onCloud() {
		g.terminate(t)
		// The admin key is shown at the first start, and only there.
		if n := strings.Count(g.log(), g.key.Reveal()); n != 1 {
			t.Errorf("the first start shows the admin key %d times, want once", n)
		}
		g.nodes[0].stderr = &capture{}
		g.up(t)
	}

	// One thief in the sandbox, one while it runs is looked at from outside.
	o := g.run(t, "mock: shell "+thief(g)+" | tee stolen.txt")
	o.wantStatus(t, apiv1.StatusCompleted, "")
	command, marker := sleeper()
	running := g.submit(t, apiv1.PromptParams{Prompt: "mock: shell " + command + "\nmock: hang"})
	eventually(t, "the job's commands run", func() bool { return len(marked(marker)) >= 3 })
	for _, p := range g.below() {
		for _, file := range []string{"environ", "cmdline"} {
			raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.pid, file))
			if err != nil {
				continue // it has ended
			}
			for what, text := range secrets {
				if bytes.Contains(raw, []byte(text)) {
					t.Errorf("%s is in the %s of %v", what, file, p)
				}
			}
			if file == "environ" && bytes.Contains(raw, []byte("CODEXGW_")) {
				t.Errorf("%v has the gateway's environment", p)
			}
		}
	}
	if _, err := g.CancelJob(t.Context(), running, ""); err != nil {
		t.Fatal(err)
	}
	cancelled := g.await(t, running)

	// The model itself was asked with the real key: the canary could be found.
	requests := m.Server.Requests()
	if len(requests) == 0 || requests[0].Header.Get("Authorization") != "Bearer "+canary {
		t.Fatal("the model did not get its key")
	}
	texts := map[string]string{"the gateway's log": g.log(), "its standard output": g.printed(), "what was stolen": g.workspace(t, o.JobID)["stolen.txt"]}
	if !strings.Contains(texts["what was stolen"], "the-thief-is-done") {
		t.Fatalf("the thief did not finish:\n%s", tail(texts["what was stolen"], 2000))
	}
	for _, events := range [][]apiv1.Event{o.events, cancelled.events} {
		for _, e := range events {
			raw, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			texts[fmt.Sprintf("event %d of %s", e.Seq, e.JobID)] = string(raw)
		}
	}
	for i, r := range requests {
		texts[fmt.Sprintf("the body of request %d to the model", i)] = string(r.Body)
	}
	g.terminate(t) // what is in memory only now would be written
	for name, text := range filesBelow(t, g.dir) {
		texts["file "+name] = text
	}
	delete(texts, "file admin.key")
	for where, text := range texts {
		for what, s := range secrets {
			if i := strings.Index(text, s); i >= 0 && !onlyOurQuestion(text, s) {
				t.Errorf("%s is in %s: …%q…", what, where, text[max(0, i-60):min(len(text), i+60)])
			}
		}
	}
}

// onlyOurQuestion reports whether a secret is there only because the prompt
// named its prefix, to look for it.
func onlyOurQuestion(text, s string) bool {
	return s == jobTokenPrefix && strings.Count(text, s) == strings.Count(text, s+"[")
}

// filesBelow reads every file of a directory, packed ones unpacked too.
func filesBelow(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		files[rel] = string(raw)
		if strings.HasSuffix(name, ".zst") {
			files[rel+" unpacked"] = unzstd(t, string(raw))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
