package broker

import (
	"bytes"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// IMM's own refresh token renews itself for ever and knows nothing of callers. That a page never
// gets it is a matter of types: each of these snippets would hand it over, and none compiles. The
// twins show that it is not the snippets' other words that fail.
func TestIMMsRefreshTokenAsAnAnswersDoesNotCompile(t *testing.T) {
	packages := exported(t)
	for _, c := range []struct {
		code     string
		compiles bool
	}{
		{`broker.Answer{RefreshToken: sealed}`, true},
		{`broker.Answer{RefreshToken: tokens.RefreshToken}`, false},
		{`broker.Answer{RefreshToken: opened.RefreshToken}`, false},
		{`broker.Answer{RefreshToken: session.Sealed(tokens.RefreshToken)}`, false},
		{`broker.Answer{RefreshToken: session.Sealed(tokens.RefreshToken.Reveal())}`, false},
		{`broker.Answer{RefreshToken: session.Sealed{tokens.RefreshToken}}`, false},
		{`broker.Answer{RefreshToken: session.Sealed{secret: tokens.RefreshToken}}`, false},
		{`broker.Answer{Access: tokens.Access}`, true},
		{`session.Session{RefreshToken: tokens.RefreshToken}`, true},
		{`session.Session{RefreshToken: sealed}`, false},
		{`session.Session{RefreshToken: weboffice.Secret(sealed)}`, false},
		{`imm.Tokens{RefreshToken: sealed}`, false},
	} {
		err := compile(packages, "_ = "+c.code)
		if (err == nil) != c.compiles {
			t.Errorf("%s: %v", c.code, err)
		}
	}
}

// compile type-checks one statement.
func compile(packages types.Importer, statement string) error {
	source := `package p
import ("weboffice-functions/shared/broker"; "weboffice-functions/shared/imm"
	"weboffice-functions/shared/session"; "weboffice-functions/shared/weboffice")
var (_ broker.Answer; _ imm.Tokens; _ session.Session; _ weboffice.Secret)
func f(tokens imm.Tokens, opened session.Session, sealed session.Sealed) { ` + statement + ` }`
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "snippet.go", source, 0)
	if err != nil {
		return err
	}
	_, err = (&types.Config{Importer: packages}).Check("p", files, []*ast.File{file}, nil)
	return err
}

// exported imports this module's packages as the go command builds them.
func exported(t *testing.T) types.Importer {
	t.Helper()
	list := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", ".")
	list.Stderr = t.Output()
	text, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for line := range bytes.Lines(text) {
		name, file, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		files[name] = file
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(name string) (io.ReadCloser, error) {
		return os.Open(files[name])
	})
}
