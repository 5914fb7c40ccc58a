package errs_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/errs"
)

var update = flag.Bool("update", false, "add new codes to testdata/codes.golden")

func TestEveryColumnIsFilled(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	for _, row := range errs.Registry {
		if !name.MatchString(string(row.Code)) {
			t.Errorf("%q is not snake_case", row.Code)
		}
		for column, text := range map[string]string{"message": row.Message, "help": row.Help} {
			if len(text) < 10 || !strings.HasSuffix(text, ".") || strings.TrimSpace(text) != text {
				t.Errorf("%s: %s %q is not a sentence", row.Code, column, text)
			}
		}
	}
}

func TestNumbersFollowTheirScope(t *testing.T) {
	t.Parallel()
	// The statuses that a JSON-RPC answer carries too; clients act on them.
	envelope := []int{
		http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestEntityTooLarge,
		http.StatusTooManyRequests, http.StatusServiceUnavailable,
	}
	carried := make(map[int]bool)
	for _, row := range errs.Registry {
		switch row.Scope {
		case errs.Request:
			reserved := row.RPC == -32700 || row.RPC <= -32600 && row.RPC >= -32603
			if server := row.RPC <= -32000 && row.RPC >= -32099; !reserved && !server {
				t.Errorf("%s: %d is outside the ranges of the specification", row.Code, row.RPC)
			}
			if row.HTTP < 400 || row.HTTP > 599 || http.StatusText(row.HTTP) == "" {
				t.Errorf("%s: %d is no HTTP error", row.Code, row.HTTP)
			}
		case errs.Job:
			if row.RPC != 0 || row.HTTP != 0 || row.Envelope {
				t.Errorf("%s: a job's error has no number", row.Code)
			}
		default:
			t.Errorf("%s: scope %q", row.Code, row.Scope)
		}
		if row.Envelope {
			carried[row.HTTP] = true
			if !slices.Contains(envelope, row.HTTP) {
				t.Errorf("%s: the envelope never carries %d", row.Code, row.HTTP)
			}
		}
	}
	for _, status := range envelope {
		if !carried[status] {
			t.Errorf("no error carries %d", status)
		}
	}
}

func TestCodesAreUnique(t *testing.T) {
	t.Parallel()
	codes, numbers := make(map[errs.Code]bool), make(map[int]errs.Code)
	for _, row := range errs.Registry {
		if codes[row.Code] {
			t.Errorf("%s is registered twice", row.Code)
		}
		codes[row.Code] = true
		if row.RPC == 0 {
			continue
		}
		if other, taken := numbers[row.RPC]; taken {
			t.Errorf("%d is both %s and %s", row.RPC, other, row.Code)
		}
		numbers[row.RPC] = row.Code
	}
}

// TestEveryConstantIsRegistered reads the source: a constant without a row
// would be rendered as internal.
func TestEveryConstantIsRegistered(t *testing.T) {
	t.Parallel()
	registered, closes := make([]string, len(errs.Registry)), make([]string, len(errs.CloseRegistry))
	for i, row := range errs.Registry {
		registered[i] = strconv.Quote(string(row.Code))
	}
	for i, row := range errs.CloseRegistry {
		closes[i] = strconv.Itoa(int(row.Code))
	}
	for _, tc := range []struct {
		file, typ  string
		registered []string
	}{{"errs.go", "Code", registered}, {"close.go", "CloseCode", closes}} {
		declared := constants(t, tc.file, tc.typ)
		slices.Sort(declared)
		slices.Sort(tc.registered)
		if diff := cmp.Diff(declared, tc.registered); diff != "" {
			t.Errorf("%s (-declared +registered):\n%s", tc.typ, diff)
		}
	}
}

// constants are the values of the constants of a type, as they are written.
func constants(t *testing.T, name, typ string) (declared []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if is, ok := spec.Type.(*ast.Ident); !ok || is.Name != typ {
			return true
		}
		for _, v := range spec.Values {
			lit, ok := v.(*ast.BasicLit)
			if !ok {
				t.Fatalf("%v is no literal", spec.Names)
			}
			declared = append(declared, lit.Value)
		}
		return true
	})
	return declared
}

// TestCodesOnlyGrow compares with every code that was ever published: none may
// go, change its number, its status or its scope. -update adds, it never removes.
func TestCodesOnlyGrow(t *testing.T) {
	t.Parallel()
	const file = "testdata/codes.golden"
	golden, err := os.ReadFile(file)
	if err != nil && !*update {
		t.Fatal(err)
	}
	published := strings.Split(strings.TrimSpace(string(golden)), "\n")
	if string(golden) == "" {
		published = nil
	}
	var current []string
	for _, row := range errs.Registry {
		current = append(current, fmt.Sprintf("%s %s %d %d", row.Code, row.Scope, row.RPC, row.HTTP))
	}
	for _, row := range errs.CloseRegistry {
		current = append(current, fmt.Sprintf("%s close %d", row.Name, row.Code))
	}
	for _, line := range published {
		if !slices.Contains(current, line) {
			t.Errorf("published and gone or changed: %s", line)
		}
	}
	added := slices.DeleteFunc(slices.Clone(current), func(line string) bool { return slices.Contains(published, line) })
	if *update {
		if err := os.WriteFile(file, []byte(strings.Join(append(published, added...), "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if len(added) > 0 {
		t.Errorf("not in %s, run with -update: %v", file, added)
	}
}

func TestCloseCodesInstructClients(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	for _, row := range errs.CloseRegistry {
		if row.Code < 4000 || row.Code > 4999 || !name.MatchString(row.Name) {
			t.Errorf("%d %q", row.Code, row.Name)
		}
		verb := "Reconnect "
		if row.Code >= 4500 {
			verb = "Do not come back "
		}
		if !strings.HasPrefix(row.Help, verb) || !strings.HasSuffix(row.Help, ".") || !strings.HasSuffix(row.Meaning, ".") {
			t.Errorf("%s: %q does not say what %d says", row.Name, row.Help, row.Code)
		}
	}
}
