package weboffice

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// testdata reads a file of test cases, in which {9*x} stands for xxxxxxxxx.
func testdata(t testing.TB, name string) string {
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	repeat := regexp.MustCompile(`\{\d+\*.\}`)
	return repeat.ReplaceAllStringFunc(string(text), func(found string) string {
		count, unit, _ := strings.Cut(strings.Trim(found, "{}"), "*")
		n, _ := strconv.Atoi(count)
		return strings.Repeat(unit, n)
	})
}

// scenarios are parameters in the spellings of the vendor's pages: a name, the body, and the JSON
// of what it means.
func scenarios(t testing.TB) (all [][]string) {
	for scenario := range strings.SplitSeq(testdata(t, "scenarios.txt"), "\n\n") {
		all = append(all, strings.Split(scenario, "\n"))
	}
	return all
}

func TestScenariosOfTheVendorsPagesAreRead(t *testing.T) {
	for _, s := range scenarios(t) {
		got, err := ParseRequest([]byte(s[1]))
		if err := errors.Join(err, got.Validate()); err != nil {
			t.Errorf("%s: %v", s[0], err)
		}
		if text, _ := json.Marshal(got); string(text) != s[2] {
			t.Errorf("%s:\ngot  %s\nwant %s", s[0], text, s[2])
		}
	}
	got, err := ParseRequest([]byte(`{"Password":"hunter2"}`)) // which no JSON holds
	if err != nil || got.Password != "hunter2" {
		t.Errorf("%+v, %v", got, err)
	}
}

// accepted is what stands against a body, or against a query behind its question mark.
func accepted(body string) error {
	r, err := ParseRequest([]byte(body))
	if query, is := strings.CutPrefix(body, "?"); is {
		r, err = parseQuery(query)
	}
	if err != nil {
		return err
	}
	return r.Validate()
}

func TestBadInputNamesTheParameter(t *testing.T) {
	for line := range strings.Lines(testdata(t, "refused.txt")) {
		code, body, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " | ")
		body, says, _ := strings.Cut(body, " | ")
		if strings.HasPrefix(line, "#") {
			continue
		}
		got, name := AsError(accepted(body)), code[strings.LastIndexAny(code, ". ")+1:]
		if got.Kind != Invalid || got.Code != code || !strings.Contains(got.Message, says) ||
			name != code && !strings.Contains(got.Message, name) {
			t.Errorf("%.60s: got %v, want %s", body, got, code)
		}
	}
}

func parseQuery(raw string) (Request, error) {
	body, err := BodyOf(raw)
	if err != nil {
		return Request{}, err
	}
	return ParseRequest(body)
}

func TestQueryReadsWhatABodyReads(t *testing.T) {
	const body = `{"SourceURI":"a <&>.docx","PreviewPages":2,"Permission":{"Readonly":true,"Copy":true}}`
	got, err := parseQuery("Permission[Readonly]=true&SourceURI=a%20%3C%26%3E.docx&PreviewPages=2" +
		"&Permission%5BCopy%5D=true&Password=")
	want, _ := ParseRequest([]byte(body))
	if err != nil || !sameRequest(t, got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// notRefreshes are bodies that lack a token, or say more than two tokens.
var notRefreshes = []string{`{}`, `{"AccessToken":"a"}`, `{"AccessToken":"a","RefreshToken":""}`,
	`{"AccessToken":"a","RefreshToken":"r","ProjectName":"p"}`,
	`{"AccessToken":"a","RefreshToken":"r","accessToken":"b"}`,
	`{"accesstoken":"a","RefreshToken":"r"}`, `{"AccessToken":["a"],"RefreshToken":"r"}`,
	`{"AccessToken":null,"RefreshToken":"r"}`, `{"RefreshToken":7}`, `[]`, `{`, "",
	`{"AccessToken":"a","AccessToken":"b","RefreshToken":"c"}`,
	`{"AccessToken":"\u0061","RefreshToken":"\ud800"}`,
	`{"AccessToken":"a","RefreshToken":"` + strings.Repeat(`\u0061`, 2050) + `"}`}

func TestRefreshRequestNeedsBothTokens(t *testing.T) {
	r, err := ParseRefresh([]byte(`{"AccessToken":"a","RefreshToken":"r"}`))
	if err != nil || r.AccessToken != "a" || r.RefreshToken != "r" {
		t.Errorf("%v, %v", r, err)
	}
	for _, body := range notRefreshes {
		if _, err := ParseRefresh([]byte(body)); err == nil {
			t.Errorf("%s accepted", body)
		}
	}
}

// FuzzParseRequest: reading never panics, and what was read reads back from its own JSON as the
// same request.
func FuzzParseRequest(f *testing.F) {
	for _, s := range scenarios(f) {
		f.Add([]byte(s[1]))
	}
	for row := range strings.Lines(testdata(f, "refused.txt")) {
		_, body, _ := strings.Cut(row, " | ")
		f.Add([]byte(body))
	}
	f.Add([]byte(`{"CredentialConfig":"{'Chain':'[{},{}]'}","UserData":"\ud83d\ude00"}`))
	f.Add([]byte(`{"Permission":"{'Readonly':'tr\\'ue'}","Watermark":"{\"Value\":\"it's\"}"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseRequest(body)
		if err != nil {
			if AsError(err).Kind != Invalid {
				t.Fatalf("%v is not a 400", err)
			}
			return
		}
		if !json.Valid(body) || !utf8.Valid(body) {
			t.Fatalf("%q is accepted", body)
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		replaced := "\ufffd"
		if strings.Contains(string(text), replaced) && !strings.Contains(string(body), replaced) &&
			!strings.Contains(strings.ToLower(string(body)), "fffd") {
			t.Fatalf("%q is read as %s", body, text)
		}
		again, err := ParseRequest(text)
		again.Password = r.Password // which no JSON holds
		if err != nil || !sameRequest(t, again, r) {
			t.Fatalf("%s read back as %+v, %v", text, again, err)
		}
	})
}

// sameRequest says whether two requests hold the same parameters and values, an empty structure and
// one of empty lists alike.
func sameRequest(t *testing.T, a, b Request) bool {
	t.Helper()
	one, errOne := json.Marshal(a)
	other, errOther := json.Marshal(b)
	if err := errors.Join(errOne, errOther); err != nil {
		t.Fatal(err)
	}
	return string(one) == string(other) && a.Password == b.Password
}

// FuzzParseQuery: reading a query never panics, whatever its order gives the same outcome, and what
// is read from names and texts is what a body of the same names and texts says.
func FuzzParseQuery(f *testing.F) {
	for row := range strings.Lines(testdata(f, "refused.txt")) {
		if _, query, is := strings.Cut(row, " | ?"); is {
			f.Add(strings.TrimSpace(query))
		}
	}
	for _, query := range []string{
		"SourceURI=oss%3A%2F%2Fa-b%2Fa.docx&Permission%5BReadonly%5D=true&Permission[Copy]=true",
		"PreviewPages=2&Permission={'Readonly':'true'}&Watermark=%7B%22Value%22:%22it's%22%7D",
		"[]=x", "a[b]c]=x", "Permission[]=x", "Permission[Copy=x", "Permission]=x", "=", "&&",
		"CredentialConfig[Chain]=[{}]", "User[Name]=%ff&User[Id]=%00", "a[b][c]=x", "%ff=x&%fe=y",
		"Hidecmb=", "Hidecmb=null",
	} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		query, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		r, err := parseQuery(raw)
		again, errAgain := parseQuery(raw)
		if (err == nil) != (errAgain == nil) || !sameRequest(t, again, r) {
			t.Fatalf("%+v, %v, and the second time %+v, %v", r, err, again, errAgain)
		}
		if err != nil {
			if AsError(err).Kind != Invalid {
				t.Fatalf("%v is not a 400", err)
			}
			return
		}
		members := map[string]string{}
		for name, values := range query {
			if len(values) != 1 || !showable(name) {
				return // not one text for each name, or a part of a structure
			}
			members[name] = values[0]
		}
		body, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := ParseRequest(body); err != nil || !sameRequest(t, same, r) {
			t.Fatalf("%s is read as %+v, %v, and as a query as %+v", body, same, err, r)
		}
	})
}

// FuzzParseRefresh: what is read as a refresh has both tokens as they were sent, and what is not is
// a 400 that shows neither.
func FuzzParseRefresh(f *testing.F) {
	for _, body := range append(notRefreshes, `{"AccessToken":"3de242","RefreshToken":"AXoK"}`) {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseRefresh(body)
		if err != nil {
			if public := AsError(err); public.Kind != Invalid || r != (RefreshRequest{}) {
				t.Fatalf("%q: %v with %v", body, err, r)
			}
			return
		}
		var sent struct{ AccessToken, RefreshToken string }
		if json.Unmarshal(body, &sent) != nil || sent.AccessToken != r.AccessToken.Reveal() ||
			sent.RefreshToken != r.RefreshToken.Reveal() {
			t.Fatalf("%q is read as %q and %q", body, r.AccessToken.Reveal(),
				r.RefreshToken.Reveal())
		}
	})
}

// What follows the end of a text is no part of it.
func TestTextBehindTheEndIsRefused(t *testing.T) {
	const uri = `"SourceURI":"oss://test-bucket/a.docx"`
	tokens := `"AccessToken":"a","RefreshToken":"r"`
	for tail, fits := range map[string]bool{
		"]": false, "}}": false, "},\"x\":1}": false, "}\x01": false, "} {}": false, "}null": false,
		",": false, "}\x00": false, "}\n]": false, "}\u00a0": false, "} \r\n\t": true,
	} {
		if r, err := ParseRequest([]byte("{" + uri + tail)); (err == nil) != fits {
			t.Errorf("%q: %+v, %v", tail, r, err)
		}
		if _, err := ParseRefresh([]byte("{" + tokens + tail)); (err == nil) != fits {
			t.Errorf("refresh, %q: %v", tail, err)
		}
	}
}

// encoding/json would read these as U+FFFD: two texts that are not the same would become one.
func TestTextThatIsNoUnicodeIsRefused(t *testing.T) {
	for text, fits := range map[string]bool{
		"\xff": false, "a\xc3": false, "\xed\xa0\x80": false, "\xc0\x80": false,
		`\ud800`: false, `\udc00`: false, `\ud800x`: false, `\ud800\u0041`: false,
		`\udc00\ud800`: false, `\ud83d\ude00\ud83d`: false, `\uD83D\\uDE00`: false,
		`\ud83d\ude00`: true, `\\ud800`: true, `\u0041\\\u0041`: true, "\ufffd": true,
		`\ufffd`: true, `\uFfFd`: true, "😀": true, `\"\\`: true,
	} {
		quoted := `"` + text + `"`
		for _, body := range []string{`"UserData":` + quoted, `"User":{"Name":` + quoted + `}`} {
			if _, err := ParseRequest([]byte("{" + body + "}")); (err == nil) != fits {
				t.Errorf("%q: %v", body, err)
			}
		}
		tokens := `{"AccessToken":` + quoted + `,"RefreshToken":"r"}`
		if _, err := ParseRefresh([]byte(tokens)); (err == nil) != fits {
			t.Errorf("%q: %v", tokens, err)
		}
		name := `{"UserData":"",` + quoted + `:null}`
		if _, err := ParseRequest([]byte(name)); AsError(err).Kind != Invalid {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Nobody who bears no proof makes the function work for more than an ordinary refused request of
// the same length does: three times as much at most. Whatever is built of a text costs more than
// its length: its depth and its values are bounded before, also in texts inside the text.
func TestUnpaidWorkIsBounded(t *testing.T) {
	for _, length := range []int{60_000, 12_000, 8_000} {
		t.Run(fmt.Sprint(length), func(t *testing.T) { unpaidWorkIsBounded(t, length) })
	}
}

func unpaidWorkIsBounded(t *testing.T, length int) {
	filled := func(before, piece, after string) string {
		n := (length - len(before) - len(after)) / len(piece)
		return before + strings.TrimSuffix(strings.Repeat(piece, n), ",") + after
	}
	bodies := map[string]string{
		"ordinary":           filled(`{"SourceURI":"oss://a-b/a.docx","UserData":"`, "x", `"}`),
		"a chain of nothing": filled(`{"CredentialConfig":{"Chain":[`, `{},`, `]}}`),
		"a chain in a text":  filled(`{"CredentialConfig":"{'Chain':[`, `{},`, `]}"}`),
		"quotes in a text":   filled(`{"CredentialConfig":"{'Chain':['`, `\"'`, `']}"}`),
		"lists":              filled(`{"CredentialConfig":`, `[`, ``),
		"nesting":            strings.Repeat(`{"a":`, 9) + "1" + strings.Repeat("}", 9),
		"brackets in quotes": filled(`{"UserData":"`, `[{,`, `"]`),
		"unknown members":    filled(`{`, `"a":1,`, `"b":1}`),
		"escapes":            filled(`{"UserData":"`, `\u00e9`, `"}`),
		"surrogates":         filled(`{"UserData":"`, `\ud83d\ude00`, `"}`),
		"backslashes":        filled(`{"UserData":"`, `\\`, `"}`),
		"repeated names":     filled(`{`, `"SourceURI":"",`, `"a":1}`),
		"no Unicode":         filled(`{"UserData":"`, "\xff", `"}`),
		"text in text":       filled(`{"Permission":"`, `\\\"`, `"}`),
	}
	work := func(name string) (allocations, size uint64) {
		const times = 10
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range times {
			if err := accepted(bodies[name]); AsError(err).Kind != Invalid {
				t.Fatalf("%s: %v", name, err)
			}
		}
		runtime.ReadMemStats(&after)
		return (after.Mallocs - before.Mallocs) / times,
			(after.TotalAlloc - before.TotalAlloc) / times
	}
	_, ordinary := work("ordinary")
	for name := range bodies {
		if n, size := work(name); n > 60 || size > 3*ordinary {
			t.Errorf("%s: %d allocations of %d bytes, an ordinary one of %d", name, n, size,
				ordinary)
		}
	}
}

func TestParametersThatAreSent(t *testing.T) {
	no, pages := false, int64(3)
	r := Request{SourceURI: "oss://b-1/a.docx", Hidecmb: &no, Password: "hunter2"}
	if got := strings.Join(r.Sent(), " "); got != "SourceURI Password Hidecmb" {
		t.Error(got)
	}
	over := r.With(Request{PreviewPages: &pages, Password: "other"})
	if got := strings.Join(over.Sent(), " "); got != "SourceURI PreviewPages Password Hidecmb" ||
		over.Password != "other" || r.Password != "hunter2" || r.PreviewPages != nil {
		t.Errorf("%s, %+v", got, r)
	}
	if names := ParameterNames(); len(names) != 16 || names[0] != "ProjectName" {
		t.Error(names)
	}
}
