package session_test

import (
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/session"
	"weboffice-functions/shared/weboffice"
)

func newKey() []byte {
	key := make([]byte, session.KeySize)
	_, _ = rand.Read(key) // never fails
	return key
}

func newSealer(t testing.TB, keys ...[]byte) *session.Sealer {
	t.Helper()
	return sealerOf(t, "test-project", "cn-shanghai", keys...)
}

func sealerOf(t testing.TB, project, region string, keys ...[]byte) *session.Sealer {
	t.Helper()
	s, err := session.NewSealer(keys, project, region)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func seal(t testing.TB, s *session.Sealer, what session.Session) weboffice.Secret {
	t.Helper()
	token, err := s.Seal(what)
	if err != nil {
		t.Fatal(err)
	}
	return weboffice.Secret(token.Reveal())
}

// open opens a token as a page presents it that holds full's access token.
func open(s *session.Sealer, token weboffice.Secret) (session.Session, error) {
	opened, sealed, err := s.Open(weboffice.RefreshRequest{AccessToken: full().AccessToken,
		RefreshToken: token})
	if err == nil && sealed.Reveal() != token.Reveal() {
		return opened, errors.New("it comes back as another token")
	}
	return opened, err
}

//go:embed testdata/request.json
var requestJSON []byte

// full is a session in which nothing is empty.
func full() session.Session {
	asked, err := weboffice.ParseRequest(requestJSON)
	if err != nil {
		panic(err)
	}
	start := time.UnixMilli(1_800_000_000_123)
	return session.Session{
		ID: "OPENDOCUMENT1234",
		Access: weboffice.Access{
			WebofficeURL: "https://office-cn-shanghai.imm.aliyuncs.com/office/w/7c1a" +
				"?_w_tokentype=1&x=<y>",
			AccessToken:             "access",
			AccessTokenExpiredTime:  start.Add(90 * time.Minute).UTC().Add(856132358),
			RefreshTokenExpiredTime: start.Add(25 * time.Hour).UTC(),
			Life:                    30 * time.Minute,
		},
		RefreshToken: "f1fd1afd79ee445f95d3dd99f34f35ffv3",
		Issuer:       "https://login.example.com",
		Subject:      "ann",
		Start:        start,
		Issued:       start.Add(time.Hour),
		Guest:        weboffice.User{Id: "GUESTGUESTGUEST", Name: "Guest"},
		Decision:     [32]byte{1, 2, 3},
		Asked:        asked,
	}
}

func TestSealedSessionComesBackWhole(t *testing.T) {
	s := newSealer(t, newKey())
	for name, want := range map[string]session.Session{
		"everything": full(),
		"little": {ID: "x", Access: weboffice.Access{AccessToken: "access"},
			Start: time.UnixMilli(5), Issued: time.UnixMilli(7),
			Asked: weboffice.Request{SourceURI: "oss://test-bucket/a.docx"}},
	} {
		token := seal(t, s, want)
		got, err := open(s, token)
		if err != nil {
			t.Fatal(name, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, got, want)
		}
	}
	// No field is left out of the comparison above by being empty in full().
	for _, v := range []reflect.Value{reflect.ValueOf(full()), reflect.ValueOf(full().Asked)} {
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("full() has no %s", v.Type().Field(i).Name)
			}
		}
	}
}

func TestOrdinaryTokenHasAtMost2000Characters(t *testing.T) {
	s := newSealer(t, newKey())
	ordinary := full()
	ordinary.Asked = weboffice.Request{
		SourceURI: "oss://team-docs/teams/human-resources/2026/" +
			"budget of the whole department (final).xlsx",
		Filename: "budget.xlsx", Password: "hunter2-hunter2",
		Permission: &weboffice.Permission{Copy: true},
	}
	if token := seal(t, s, ordinary); len(token) > 2000 {
		t.Errorf("%d characters", len(token))
	}
}

// A right that was paid for and cannot be carried on would be generated again every half hour.
func TestLargestRequestThatIsAcceptedCanBeOpened(t *testing.T) {
	s := newSealer(t, newKey())
	large := full()
	large.Subject = strings.Repeat("\x01", 255)
	large.WebofficeURL += strings.Repeat("x", 2048)
	fillUp(t, s, &large)
	token := seal(t, s, large)
	t.Logf("the longest token has %d characters", len(token))
	if got, err := open(s, token); err != nil || !reflect.DeepEqual(got, large) {
		t.Errorf("a token of %d characters is not opened: %v", len(token), err)
	}
}

// fillUp puts into every text of what was asked whatever makes the longest token and is still
// accepted.
func fillUp(t *testing.T, s *session.Sealer, large *session.Session) {
	t.Helper()
	asked := &large.Asked
	accepted := func() bool {
		_, err := weboffice.ParseSourceURI(asked.SourceURI)
		return err == nil && asked.Validate() == nil
	}
	all := texts(reflect.ValueOf(asked).Elem())
	for _, text := range all {
		text.SetString("")
	}
	asked.SourceURI = "oss://test-bucket/a.docx"
	for _, text := range all {
		before, after := "", ""
		switch text.Addr().Interface() {
		case &asked.SourceURI:
			before, after = "oss://test-bucket/", ".docx"
		case &asked.Filename:
			after = ".docx"
		}
		best, length := text.String(), 0
		for _, character := range []string{"a", "<", `"`, "文", "\u2028", "\n", "\x01"} {
			repeated := func(n int) string { return before + strings.Repeat(character, n) + after }
			most := sort.Search(5000, func(n int) bool { // one more would be refused
				text.SetString(repeated(n + 1))
				return !accepted()
			})
			if text.SetString(repeated(most)); accepted() && len(seal(t, s, *large)) > length {
				best, length = repeated(most), len(seal(t, s, *large))
			}
		}
		text.SetString(best)
	}
	if !accepted() {
		t.Fatal(asked.Validate())
	}
}

// texts lists every text inside a value.
func texts(v reflect.Value) (all []reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		all = append(all, v)
	case reflect.Pointer:
		all = texts(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			all = append(all, texts(v.Index(i))...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			all = append(all, texts(v.Field(i))...)
		}
	}
	return all
}

// Two tokens of one session share nothing that would tell that they are alike, and hold nothing
// that can be read.
func TestTokensShowNothing(t *testing.T) {
	s := newSealer(t, newKey())
	one, two := seal(t, s, full()), seal(t, s, full())
	if one[28:60] == two[28:60] { // behind version, key id and salt
		t.Error("the same session is sealed to the same text")
	}
	raw, err := base64.RawURLEncoding.DecodeString(one.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"f1fd1afd", `"ann"`, "oss://", "login.example.com", "hunter2"} {
		if strings.Contains(string(raw), part) || strings.Contains(one.Reveal(), part) {
			t.Errorf("%s can be read", part)
		}
	}
}

// refused wants the one error that all bad tokens have.
func refused(t *testing.T, name string, s *session.Sealer, token weboffice.Secret) {
	t.Helper()
	got, err := open(s, token)
	var public *weboffice.Error
	if !errors.As(err, &public) || !reflect.DeepEqual(public, weboffice.ErrRefreshToken.New()) ||
		!reflect.DeepEqual(got, session.Session{}) {
		t.Errorf("%s: %+v, %v", name, got, err)
	}
}

func encoded(raw []byte) weboffice.Secret {
	return weboffice.Secret(base64.RawURLEncoding.EncodeToString(raw))
}

// misspelt are other spellings of a token.
func misspelt(token string) map[string]string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return map[string]string{
		"a line break inside": token[:40] + "\n" + token[40:],
		"a line break behind": token + "\r\n",
		"a line break before": "\n" + token,
		"padding":             token + "=",
		"a space":             token + " ",
		"more":                token + "AAAA",
		"twice":               token + token,
		"half":                token[:len(token)/2],
		"nothing":             "",
		"unused bits":         token[:len(token)-1] + string(alphabet[last^1]),
		"upper case":          strings.ToUpper(token),
		"too long":            strings.Repeat("A", session.MaxToken+1),
		"other alphabet":      base64.StdEncoding.EncodeToString([]byte(token)),
		"not base64":          "!" + token[1:],
	}
}

// Every bit of a token counts, and it has one spelling: others would be other tokens to whoever
// remembers which were used.
func TestForgedTokenIsRefused(t *testing.T) {
	s := newSealer(t, newKey())
	token := seal(t, s, full())
	raw, err := base64.RawURLEncoding.DecodeString(token.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw { // version, key id, salt, text and tag, bit by bit
		changed := append([]byte(nil), raw...)
		changed[i] ^= 1 << (i % 8)
		refused(t, fmt.Sprintf("byte %d", i), s, encoded(changed))
		refused(t, fmt.Sprintf("cut to %d", i), s, encoded(raw[:i]))
	}
	for name, other := range misspelt(token.Reveal()) {
		refused(t, name, s, weboffice.Secret(other))
	}
	if _, err := open(s, token); err != nil {
		t.Error("the token itself:", err)
	}
}

// Append the new key, move it first, drop the old one: at each step every token that is still
// wanted opens, and those of other deployments do not.
func TestRotationOfKeys(t *testing.T) {
	old, fresh := newKey(), newKey()
	sealers := map[string]*session.Sealer{
		"before": newSealer(t, old), "appended": newSealer(t, old, fresh),
		"moved": newSealer(t, fresh, old), "dropped": newSealer(t, fresh),
		"another project": sealerOf(t, "other-project", "cn-shanghai", old, fresh),
		"another region":  sealerOf(t, "test-project", "cn-beijing", old, fresh),
	}
	for by, opens := range map[string]string{
		"before": "before appended moved", "appended": "before appended moved",
		"moved": "appended moved dropped", "dropped": "appended moved dropped",
	} {
		token := seal(t, sealers[by], full())
		for name, s := range sealers {
			if !slices.Contains(strings.Fields(opens), name) {
				refused(t, by+", then "+name, s, token)
			} else if _, err := open(s, token); err != nil {
				t.Errorf("sealed %s, not opened %s: %v", by, name, err)
			}
		}
	}
}

func TestTokenOfAnotherCallerDoesNotBelong(t *testing.T) {
	persons, guests := full(), full()
	guests.Issuer, guests.Subject = "", ""
	for _, c := range []struct{ issuer, subject, owns string }{
		{"https://login.example.com", "ann", "the person's"},
		{"https://login.example.com", "bob", ""},
		{"https://login.example.org", "ann", ""},
		{"", "", "the guest's"},
		{"https://login.example.co", "mann", ""}, // the border moved
	} {
		for name, s := range map[string]session.Session{"the person's": persons,
			"the guest's": guests} {
			if s.BelongsTo(c.issuer, c.subject) != (c.owns == name) {
				t.Errorf("%+v and %s token", c, name)
			}
		}
	}
}

func TestTokenWithAnotherAccessTokenIsRefused(t *testing.T) {
	s := newSealer(t, newKey())
	token := seal(t, s, full())
	for _, other := range []weboffice.Secret{"access2", "Access", ""} {
		got, sealed, err := s.Open(
			weboffice.RefreshRequest{AccessToken: other, RefreshToken: token})
		if !reflect.DeepEqual(err, weboffice.ErrRefreshToken.New()) ||
			!reflect.DeepEqual(got, session.Session{}) || sealed != (session.Sealed{}) {
			t.Errorf("%q: %+v, %v", other.Reveal(), got, err)
		}
	}
	if got, err := open(s, token); err != nil || got.AccessToken != "access" {
		t.Error("its own:", err)
	}
}

// An upgrade is a merge: documents that are open during it stay open. The tokens were sealed by the
// code of the version before.
func TestTokensOfTheVersionBeforeAreOpened(t *testing.T) {
	key := sha256.Sum256([]byte("a session key for golden tokens"))
	guest := full()
	guest.Issuer, guest.Subject = "", ""
	guest.Asked = weboffice.Request{SourceURI: "oss://test-bucket/test-object.docx"}
	for name, want := range map[string]session.Session{"full": full(), "guest": guest} {
		token, err := os.ReadFile("testdata/golden/version1-" + name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		got, err := open(newSealer(t, key[:]), weboffice.Secret(token))
		again, _ := open(newSealer(t, key[:]), weboffice.Secret(token))
		if want.ID = got.ID; len(got.ID) != 16 || again.ID != got.ID {
			t.Errorf("%s: the document's ID is %q and %q", name, got.ID, again.ID)
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", name, got, err, want)
		}
	}
}

func TestSealedTokenIsNeverPrinted(t *testing.T) {
	s := newSealer(t, newKey())
	sealed, err := s.Seal(full())
	if err != nil {
		t.Fatal(err)
	}
	holder := struct{ Token session.Sealed }{sealed}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", sealed, "holder", holder)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", sealed, "holder", holder)
	text, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	printed := fmt.Sprintf("%v %s %q %x %#v %+v %d", sealed, sealed, sealed, sealed, sealed, sealed,
		sealed) + fmt.Sprintf("%v %+v %#v", holder, holder, &holder) + string(text) + log.String()
	if strings.Contains(printed, sealed.Reveal()[:20]) ||
		strings.Contains(printed, fmt.Sprintf("%x", sealed.Reveal()[:20])) {
		t.Error(printed)
	}
	if !strings.Contains(printed, "[secret]") {
		t.Error("nothing was printed:", printed)
	}
}

func TestKeysMustBeOfTheRightLength(t *testing.T) {
	for name, keys := range map[string][][]byte{"none": nil, "empty": {{}},
		"short": {make([]byte, 31)}, "long": {newKey(), make([]byte, 33)}} {
		if _, err := session.NewSealer(keys, "p", "r"); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestEachOpenedDocumentHasItsOwnID(t *testing.T) {
	if one := session.NewID(); len(one) != 16 || one == session.NewID() {
		t.Error(one)
	}
}

// FuzzOpen: nothing opens but what was sealed, in its one spelling.
func FuzzOpen(f *testing.F) {
	key := newKey()
	s := newSealer(f, key, newKey())
	own := seal(f, s, full()).Reveal()
	f.Add(own)
	for _, other := range misspelt(own) {
		f.Add(other)
	}
	f.Add(seal(f, sealerOf(f, "other", "cn-shanghai", key), full()).Reveal())
	f.Fuzz(func(t *testing.T, token string) {
		got, err := open(s, weboffice.Secret(token))
		if err == nil && token != own {
			t.Fatalf("%q opens to %+v", token, got)
		}
		if err != nil && err.Error() != weboffice.ErrRefreshToken.New().Error() {
			t.Fatalf("%q: %v", token, err)
		}
	})
}

// FuzzRoundTrip: what callers send comes back as it was, and one changed bit is refused.
func FuzzRoundTrip(f *testing.F) {
	s := newSealer(f, newKey())
	f.Add("https://login.example.com", "ann", "oss://test-bucket/a.docx", "hunter2", "data",
		int64(1_800_000_000_000), 17)
	f.Add("", "", "oss://test-bucket/报告/\u2028<&>.docx", "\"\\\x00", "\x7f", int64(0), 0)
	f.Fuzz(func(t *testing.T, issuer, subject, uri, password, userData string, start int64,
		bit int) {
		for _, text := range []*string{&issuer, &subject, &uri, &password, &userData} {
			*text = strings.ToValidUTF8(*text, "") // the decoders before let no other text through
		}
		want := full()
		want.Issuer, want.Subject, want.Start = issuer, subject, time.UnixMilli(start)
		want.Asked = weboffice.Request{SourceURI: uri, Password: weboffice.Secret(password),
			UserData: userData}
		token := seal(t, s, want)
		if len(token) > session.MaxToken {
			t.Skip("longer than any request")
		}
		got, err := open(s, token)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
		raw, _ := base64.RawURLEncoding.DecodeString(token.Reveal())
		at := max(bit, -bit-1) % (8 * len(raw))
		raw[at/8] ^= 1 << (at % 8)
		if _, err := open(s, encoded(raw)); err == nil {
			t.Fatalf("opens with bit %d changed", at)
		}
	})
}
