package command

import (
	"bytes"
	"embed"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		args, says, prints string
		parse              func(*flag.FlagSet, []string, *bytes.Buffer) error
	}{
		{"-x 1", "", "", all},
		{"-x 1 y", `"y" is not a flag: see -h`, "", all},
		{"-x 1 y", "", "", some},
		{"-z", "not defined: -z: see -h", "", all},
		{"-h", flag.ErrHelp.Error(), "Usage of tool:\n  -x NAME\n", all},
	} {
		var out bytes.Buffer
		flags := flag.NewFlagSet("tool", flag.PanicOnError)
		x := flags.String("x", "", "a `NAME`")
		err := c.parse(flags, strings.Fields(c.args), &out)
		if (err == nil) != (c.says == "") || err != nil && !strings.HasSuffix(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s", c.args, err, c.says)
		}
		if !strings.HasPrefix(out.String(), c.prints) || (out.Len() > 0) != (c.prints != "") {
			t.Errorf("%s: printed %q, want %q", c.args, out.String(), c.prints)
		}
		if errors.Is(err, flag.ErrHelp) != (c.args == "-h") || err == nil && *x != "1" {
			t.Errorf("%s: %v, x is %q", c.args, err, *x)
		}
	}
}

func all(f *flag.FlagSet, args []string, out *bytes.Buffer) error  { return ParseAll(f, args, out) }
func some(f *flag.FlagSet, args []string, out *bytes.Buffer) error { return Parse(f, args, out) }

func TestProofMayStandAsInItsHeader(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	for text, want := range map[string]string{"a.b.c\n": "a.b.c", "Bearer a.b.c": "a.b.c", "": ""} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if proof, err := Proof(file); err != nil || proof.Reveal() != want {
			t.Errorf("%q: %q, %v", text, proof.Reveal(), err)
		}
	}
	if _, err := Proof(file + ".no"); err == nil {
		t.Error("no error without a file")
	}
}

//go:embed testdata/data.yaml
var files embed.FS

// TestData: a program's own data that it does not know keeps it from starting.
func TestData(t *testing.T) {
	got := Data[struct{ Known, Other int }](files, "testdata/data.yaml")
	if got.Known != 1 || got.Other != 2 {
		t.Errorf("%+v", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a key that is not known was taken")
		}
	}()
	Data[struct{ Known int }](files, "testdata/data.yaml")
}
