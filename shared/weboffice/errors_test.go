package weboffice

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
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
	entries := 0
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if made, ok := call.Fun.(*ast.Ident); !ok || made.Name != "entry" {
			return true
		}
		entries++
		for i, argument := range call.Args[1:] {
			text := literal(argument)
			if i > 0 && i < 3 && text != "" && !regexp.MustCompile(`^[A-Z{].*[.}]$`).MatchString(text) {
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
		e.Kind != BadGateway || e.Code != "ServiceMisconfigured" || e.Message != misconfigured {
		t.Errorf("%+v", e)
	}
	if e := ErrForbidden.New(); e.Recommend != ErrForbidden.Recommend || e.Code != "Forbidden" ||
		e.Kind != Forbidden || e == ErrForbidden.New() {
		t.Errorf("%+v", e)
	}
	if e := ErrUnknownMember.New("User", "id", "Id"); e.Code != "InvalidArgument.User" ||
		e.Message != "id is not a known member of User." || e.Recommend != "Use Id." {
		t.Errorf("%+v", e)
	}
}

func TestErrorOnTheWire(t *testing.T) {
	ctx := WithRequestID(context.Background(), "R-1")
	want := ErrorBody{"R-1", "MissingSourceURI", "SourceURI is required.",
		"Send oss://bucket/object."}
	if got := ErrSourceURIMissing.Because(errors.New("log only")).Body(ctx); got != want {
		t.Errorf("%+v", got)
	}
}
