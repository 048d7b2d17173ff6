package weboffice

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// What a proof-reader would mark in the catalogue: a sentence without its end, a place for a value
// that does not begin at {1}.
func TestCatalogueCanBeRead(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	message := map[string]int{"entry": 1, "argument": 1, "misconfigured": 0} // its place among what they are given
	sentence := regexp.MustCompile(`^[A-Z{].*[.}]$`)
	entries := 0
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		made, _ := call.Fun.(*ast.Ident)
		if made == nil || message[made.Name] == 0 || len(call.Args) <= message[made.Name] {
			return true
		}
		entries++
		for i, argument := range call.Args[message[made.Name]:] {
			text := literal(argument)
			if i < 2 && text != "" && !sentence.MatchString(text) {
				t.Errorf("no sentence: %q", text)
			}
			if strings.Contains(text, "  ") || strings.Contains(text, "%") {
				t.Errorf("%q", text)
			}
		}
		return true
	})
	if entries < 50 {
		t.Errorf("%d entries were found", entries)
	}
}

// literal is the text of a constant expression; "" of a name.
func literal(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, _ := strconv.Unquote(e.Value)
		return text
	case *ast.BinaryExpr:
		return literal(e.X) + literal(e.Y)
	}
	return ""
}

func TestEntryIsFilled(t *testing.T) {
	cause := errors.New("why")
	e := ErrIMMRight.Because(cause, "cn-shanghai", "{1}")
	if !strings.Contains(e.Fix, `"acs:imm:cn-shanghai:*:project/{1}"`) || !errors.Is(e, cause) ||
		e.Kind != BadGateway || e.Code != "ServiceMisconfigured" || e.Message == "" {
		t.Errorf("%+v", e)
	}
	if e == ErrIMMRight.Because(cause) {
		t.Error("two failures are one")
	}
}

// A page sees the public part, the log all of it.
func TestErrorIsItsPublicPart(t *testing.T) {
	e := ErrUnknownMember.Because(errors.New("log only"), "User", "id", "Id")
	e.Fix = "log only"
	want := ErrorBody{"R-1", "InvalidArgument.User", "id is not a known member of User.", "Use Id."}
	if got := e.Body(WithRequestID(context.Background(), "R-1")); got != want ||
		e.Error() != want.Code+": "+want.Message {
		t.Errorf("%+v, %v", got, e)
	}
	var names []string
	for _, attribute := range e.Attributes() {
		names = append(names, attribute.Key)
	}
	if got := strings.Join(names, " "); got != "message fix cause" {
		t.Error(got)
	}
	unknown := errors.New("hunter2")
	if e := AsError(unknown); e.Code != "InternalError" || !errors.Is(e, unknown) ||
		strings.Contains(e.Error(), "hunter2") {
		t.Errorf("%+v", e)
	}
}

// Of a panic's value the log has the Go runtime's own words alone: anything else may be a token.
func TestPanicIsLoggedWithoutItsValue(t *testing.T) {
	for _, c := range []struct {
		value any
		want  string
	}{
		{"hunter2", "a value of type string"},
		{errors.New("hunter2"), "a value of type *errors."},
		{runtimeError(), "index out of range"},
	} {
		var log strings.Builder
		LogPanic(WithRequestID(context.Background(), "R-1"),
			slog.New(slog.NewJSONHandler(&log, nil)), c.value)
		if line := log.String(); !strings.Contains(line, c.want) ||
			strings.Contains(line, "hunter2") || !strings.Contains(line, `"requestId":"R-1"`) ||
			!strings.Contains(line, "errors_test.go") {
			t.Error(line)
		}
	}
}

func runtimeError() (value any) {
	defer func() { value = recover() }()
	none := []int{}
	return none[len(none)]
}
