package app_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// logsVariable makes tests print what the functions log also when they pass, so that it can be
// searched.
const logsVariable = "FUNCTIONS_TEST_LOGS"

// printed shows what the functions have logged when the test has failed, or when all logs are asked
// for.
func printed(t *testing.T, l *logs) {
	t.Cleanup(func() {
		if t.Failed() || os.Getenv(logsVariable) != "" {
			t.Log(l)
		}
	})
}

// assigned finds the secrets that tests are written with: a text under a name that ends in what it
// is.
var assigned = regexp.MustCompile(
	`(?i)\b[a-z_0-9]*(?:secret|token|password|salt)"?\s*(?::=|:|=)\s*(?:weboffice\.Secret\()?"([\w.<>&-]{8,})"`)

// shapes are the secrets that tests make at random.
var shapes = map[string]*regexp.Regexp{
	"a proof or a share link":    regexp.MustCompile(`\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.`),
	"a proof in a header":        regexp.MustCompile(`Bearer [\w.~+/-]{16,}`),
	"a token of IMM":             regexp.MustCompile(`\b[0-9a-f]{32}v3\b`),
	"a sealed token":             regexp.MustCompile(`\bA[Q-f][\w-]{200,}`),
	"the signature of a request": regexp.MustCompile(`Signature=[0-9a-f]{64}`),
	"a request's parameters": regexp.MustCompile(
		`(?:Password|AccessToken|RefreshToken)=[\w%.-]{8,}`),
	"a key as an operator sets it": regexp.MustCompile(`(?:^|[\s"=,])[A-Za-z0-9+/]{43}=`),
}

// writtenSecrets reads the test sources of the packages that handle secrets.
func writtenSecrets(t *testing.T) *hunt {
	t.Helper()
	h := &hunt{forms: map[string]string{}}
	for _, folder := range []string{"../../functions", ".."} {
		err := filepath.WalkDir(folder, func(name string, _ os.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(name, "_test.go") &&
				!(strings.HasSuffix(name, ".go") && strings.HasSuffix(filepath.Dir(name), "test")) {
				return err
			}
			source, err := os.ReadFile(name)
			for _, found := range assigned.FindAllSubmatch(source, -1) {
				// the public half of an access key
				if secret := string(found[1]); !strings.HasPrefix(secret, "STS.") {
					h.add(secret, secret)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// secretsIn lists what of a line is secret.
func (h *hunt) secretsIn(line string) []string {
	names := h.found(line)
	for name, shape := range shapes {
		if shape.MatchString(line) {
			names = append(names, name)
		}
	}
	return names
}

// TestNoSecretInAnyOutput runs all tests, with the logs of the functions, and searches everything
// that comes out for every secret that the tests are written with and for every form of those that
// they make.
func TestNoSecretInAnyOutput(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the short tests, and would run itself")
	}
	t.Parallel()
	h := writtenSecrets(t)
	for _, known := range []string{
		documentPassword, password, "role-key-secret-7Yw2", "role-security-token-9Qp4",
		"user-salt-3Kd8", "hunter2-hunter2", "local-secret",
	} {
		if len(h.found(known)) == 0 {
			t.Errorf("%s is not hunted for", known)
		}
	}
	command := exec.CommandContext(t.Context(), "go", "test", "-short", "-v", "./functions/...",
		"./scripts/...", "./shared/...")
	command.Dir, command.Env = "../..", append(os.Environ(), logsVariable+"=1")
	out, err := command.CombinedOutput()
	text := string(out)
	if passed := strings.Count(text, "--- PASS: "); passed < 500 ||
		strings.Count(text, `"msg":"decision"`) < 100 {
		t.Fatalf("%d tests passed, too few to be searched: %v, %.2000s", passed, err, text)
	}
	for line := range strings.Lines(text) {
		if names := h.secretsIn(line); names != nil {
			t.Errorf("%v in the output: %.300s", names, line)
		}
	}
}

// The hunt finds what is there.
func TestHuntFindsSecrets(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	opened := s.open(s.proof("ann"), plan)
	h := writtenSecrets(t)
	for name, secret := range map[string]string{
		"a proof": s.proof("ann").Reveal(), "a share link": s.link("one", plan, "view").Reveal(),
		"a sealed token": opened.RefreshToken, "an access token": opened.AccessToken,
		"a session key":     "WEBOFFICE_SESSION_KEYS=" + s.environment["WEBOFFICE_SESSION_KEYS"],
		"the role's secret": s.environment["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
		"a query":           "Password=" + documentPassword,
		"a header":          "Authorization: Bearer abcdefgh.ijkl-mnop",
		"IMM's token":       "3de242da81e1433abefbbea000aaae39v3",
	} {
		if names := h.secretsIn(`    x_test.go:1: {"level":"INFO","x":"` + secret + `"}`); len(
			names) == 0 {
			t.Errorf("%s is not found", name)
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(s.logs.String()), "\n") {
		if names := h.secretsIn(line); names != nil {
			t.Errorf("%v in %s", names, line)
		}
	}
	if names := h.secretsIn(
		"--- PASS: TestRightsThatChangedTakeEffectAtTheNextRefresh/a_watermark_that_cannot_be_filled (0.01s)"); names != nil {
		t.Errorf("%v in a harmless line", names)
	}
}
