package caller_test

import (
	"bytes"
	"encoding/json"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"weboffice-functions/shared/caller"
)

func claimsOf(text string) (claims caller.Claims, err error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	err = decoder.Decode(&claims)
	return claims, err
}

func TestFind(t *testing.T) {
	list := func(texts ...string) caller.List { return caller.List{Texts: append([]string{}, texts...)} }
	odd := func(texts ...string) caller.List { return caller.List{append([]string{}, texts...), true} }
	for _, test := range []struct {
		claims, name string
		want         any
	}{
		{`{"team":"red"}`, "team", "red"},
		{`{"team":""}`, "team", ""},
		{`{"staff":true}`, "staff", true},
		{`{"team":"red"}`, "Team", nil},
		{`{"team":null}`, "team", nil},
		{`{}`, "team", nil},
		{`null`, "team", nil},

		{`{"a.b":"dots","a":{"b":"nested"}}`, "a.b", "dots"},
		{`{"cognito:groups":["editors"]}`, "cognito:groups", list("editors")},
		{`{"https://example.com/team":"red"}`, "https://example.com/team", "red"},

		{`{"realm_access":{"roles":["editor"]}}`, "/realm_access/roles", list("editor")},
		{`{"resource_access":{"my/app":{"roles":["a"]}}}`, "/resource_access/my~1app/roles", list("a")},
		{`{"a":{"~1":"tilde"}}`, "/a/~01", "tilde"},
		{`{"a":{"":{"":"x"}}}`, "/a//", "x"},
		{`{"a":{"b":"x"}}`, "/a/c", nil},
		{`{"a":"x"}`, "/a/b", nil},
		{`{"a":["x"]}`, "/a/0", nil},
		{`{"a":{"0":"x"}}`, "/a/0", "x"},
		{`{"/a/b":"whole name"}`, "/a/b", nil},

		{`{"n":42}`, "n", "42"}, {`{"n":42.0}`, "n", "42"}, {`{"n":4.2e1}`, "n", "42"},
		{`{"n":420E-1}`, "n", "42"}, {`{"n":-7}`, "n", "-7"}, {`{"n":-0}`, "n", "0"},
		{`{"n":0e999999999999}`, "n", "0"}, {`{"n":100}`, "n", "100"}, {`{"n":1e+2}`, "n", "100"},
		{`{"n":12345678901234567890}`, "n", "12345678901234567890"},
		{`{"n":9007199254740991.4}`, "n", nil}, {`{"n":1.5}`, "n", nil}, {`{"n":1e-1}`, "n", nil},
		{`{"n":1e-400}`, "n", nil}, {`{"n":1e65}`, "n", nil}, {`{"n":1e99999999999999999999}`, "n", nil},

		{`{"g":[]}`, "g", list()},
		{`{"g":["b","a",7]}`, "g", list("b", "a", "7")},
		{`{"g":["a",1.5,true,null,{"b":1},["c"]]}`, "g", odd("a")},
		{`{"g":[{}]}`, "g", odd()},

		// members that say yes
		{`{"roles":{"editor":{"id":"d"},"admin":{}}}`, "roles", list("editor")},
		{`{"r":{"b":1,"a":true,"c":"x","d":[0],"e":0.5}}`, "r", odd("a", "b", "c", "d", "e")},
		{`{"r":{"a":true,"d":[0],"e":{"f":1}}}`, "r", list("a", "d", "e")},
		{`{"r":{"type":"contractor"}}`, "r", odd("type")},
		{`{"r":{"a":false,"b":null,"c":0,"d":"","e":[],"f":{},"g":0.0,"h":-0e5}}`, "r", nil},
		{`{"r":{}}`, "r", nil},
	} {
		if got := must(claimsOf(test.claims)).Find(test.name); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s of %s: got %#v, want %#v", test.name, test.claims, got, test.want)
		}
	}
}

func TestCheckClaimName(t *testing.T) {
	for name, says := range map[string]string{
		"team": "", "a.b": "", "cognito:groups": "", "https://example.com/team": "", "~2": "",
		"/realm_access/roles": "", "/a~1b/~0": "", "/a/": "", "//": "",
		"": "needs a name", "/a/~2": "~0", "/a/~": "~0",
		"/email": `"email"`, "/": `""`, "/a~1b": `"a/b"`,
	} {
		err := caller.CheckClaimName(name)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want %q", name, err, says)
		}
	}
}

// FuzzFind: whatever an issuer signs, Find gives one of its four forms and changes nothing, a
// whole number comes back by its value, and each member can be found through a pointer to it.
func FuzzFind(f *testing.F) {
	f.Add(`{"a":{"b/~c":[1,"x",null,1e3]},"n":-4.20e1}`, "/a/b~1~0c")
	f.Add(`{"r":{"editor":{"id":"d"},"none":0}}`, "r")
	f.Fuzz(func(t *testing.T, text, name string) {
		claims, err := claimsOf(text)
		if err != nil {
			return
		}
		before, _ := json.Marshal(claims)
		_ = caller.CheckClaimName(name)
		switch got := claims.Find(name).(type) {
		case nil, string, bool:
		case caller.List:
			if got.Texts == nil {
				t.Errorf("a list without texts: %#v", got)
			}
		default:
			t.Errorf("%q of %s: %T", name, text, got)
		}
		for claim, value := range claims {
			number, isNumber := value.(json.Number)
			digits, isWhole := claims.Find(claim).(string)
			if isNumber && isWhole && !strings.HasPrefix(claim, "/") {
				exact, ok := new(big.Rat).SetString(number.String())
				if !ok || !exact.IsInt() || exact.Num().String() != digits {
					t.Errorf("%s: %s came back as %s", claim, number, digits)
				}
			}
			nested := caller.Claims{"outer": map[string]any{claim: value}}
			step := strings.NewReplacer("~", "~0", "/", "~1").Replace(claim)
			if direct := claims.Find(claim); !strings.HasPrefix(claim, "/") &&
				!reflect.DeepEqual(direct, nested.Find("/outer/"+step)) {
				t.Errorf("%q is %#v, and behind a pointer another", claim, direct)
			}
		}
		if after, _ := json.Marshal(claims); !bytes.Equal(before, after) {
			t.Errorf("Find changed %s to %s", before, after)
		}
	})
}
