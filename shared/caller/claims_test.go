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
	for _, line := range table(t, "claims") {
		claims, name, want := line[0], line[1], line[2]
		if got := must(json.Marshal(must(claimsOf(claims)).Find(name))); string(got) != want {
			t.Errorf("%s of %s: got %s, want %s", name, claims, got, want)
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
