package caller_test

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/weboffice"
)

// testdata/proofs.txt says how to read it.
func TestProofs(t *testing.T) {
	var s proofs
	for line := range strings.Lines(string(must(os.ReadFile("testdata/proofs.txt")))) {
		switch mark, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " "); mark {
		case "issuer":
			var trusted struct {
				caller.Issuer
				Oldest string
			}
			if err := json.Unmarshal([]byte(rest), &trusted); err != nil {
				t.Fatal(err)
			}
			trusted.MaxAge, _ = time.ParseDuration(trusted.Oldest)
			s.rig, s.key = signing(t, trusted.Issuer)
		case "links":
			s.links = true
		case "+":
			changes, says, _ := strings.Cut(rest, " => ")
			s.each(t, changes, says, s.isAccepted)
		case "-":
			changes, says, _ := strings.Cut(rest, " | ")
			s.each(t, changes, says, s.isRefused)
		}
	}
}

// proofs is where the file's reader stands.
type proofs struct {
	rig
	key   ecKey
	links bool
}

var placeholders = regexp.MustCompile(`@(-?\d+)([smhd])|x\{(\d+)\}|\bKID|\{(LF|FF)\}`)

func (s *proofs) fill(text string) string {
	return placeholders.ReplaceAllStringFunc(text, func(found string) string {
		part := placeholders.FindStringSubmatch(found)
		number, _ := strconv.Atoi(part[1] + part[3])
		unit := map[string]time.Duration{"s": 1, "m": 60, "h": 3600, "d": 86400}[part[2]]
		switch found[0] {
		case '@':
			return fmt.Sprint(s.clock.unix(time.Duration(number) * unit * time.Second))
		case 'x':
			return strings.Repeat("x", number)
		case '{':
			return map[string]string{"LF": "\n", "FF": "\xff"}[part[4]]
		}
		return caller.LinkKeyID(linkKey)
	})
}

// each tests a proof for each combination of the changes' texts.
func (s *proofs) each(t *testing.T, changes, says string,
	test func(*testing.T, weboffice.Secret, []string)) {
	combinations := [][][2]string{nil}
	for change := range strings.SplitSeq(changes, " ; ") {
		name, texts, _ := strings.Cut(change, " =")
		var longer [][][2]string
		for _, before := range combinations {
			for text := range strings.SplitSeq(texts, "||") {
				longer = append(longer, append(slices.Clone(before),
					[2]string{name, s.fill(strings.TrimSpace(text))}))
			}
		}
		combinations = longer
	}
	for _, combination := range combinations {
		t.Run(fmt.Sprintf("%.100s", fmt.Sprint(combination)), func(t *testing.T) {
			test(t, s.proof(combination), strings.Split(s.fill(says), " & "))
		})
	}
}

func (s *proofs) proof(changes [][2]string) weboffice.Secret {
	removed, added := map[string]any{"name": "Secret Name"}, ""
	header, claims := header, ""
	if s.links {
		header = linkHeader()
	}
	for _, change := range changes {
		switch name, text := change[0], change[1]; {
		case name == "header":
			header = text
		case name == "claims":
			return s.key.sign(header, text)
		case name == "token":
			parts := strings.Split(s.proof(nil).Reveal(), ".")
			return weboffice.Secret(strings.NewReplacer("H", parts[0], "P", parts[1],
				"S", parts[2]).Replace(text))
		case name == "and":
			added += "," + text
		case text == "":
			removed[name] = nil
		default:
			removed[name] = nil
			added += "," + strconv.Quote(name) + ":" + text
		}
	}
	if s.links {
		claims = linkPayload(s.clock, removed)
	} else {
		claims = honest(s.clock, removed)
	}
	claims = strings.TrimSuffix(claims, "}") + added + "}"
	if s.links {
		return hs256([]byte(linkKey), header, claims)
	}
	return s.key.sign(header, claims)
}

// isAccepted asks twice: the second time the proof is remembered.
func (s *proofs) isAccepted(t *testing.T, token weboffice.Secret, contains []string) {
	got := s.accepted(t, token)
	if again := s.accepted(t, token); !reflect.DeepEqual(again, got) {
		t.Errorf("%+v, then %+v", got, again)
	}
	if _, err := s.Inspect(token); err != nil {
		t.Errorf("Inspect refuses it: %v", err)
	}
	if _, counts := got.Claims["email"]; counts && got.EmailIgnored != "" {
		t.Error("email is ignored and still there")
	}
	shows(t, got, contains...)
}

// shows says what the caller, as JSON, must contain, or after ! not contain.
func shows(t *testing.T, got caller.Caller, contains ...string) {
	t.Helper()
	got.IssuedAt, got.Expires = got.IssuedAt.UTC(), got.Expires.UTC()
	shown := string(must(json.Marshal(got)))
	for _, text := range contains {
		if text, not := strings.CutPrefix(text, "!"); strings.Contains(shown, text) == not {
			t.Errorf("got %s, want %s there: %v", shown, text, !not)
		}
	}
}

// isRefused holds the reason to what it may show. Only a proof that nothing but its signature could
// save may cause a request.
func (s *proofs) isRefused(t *testing.T, token weboffice.Secret, reasons []string) {
	before := s.wire.count()
	why := s.refused(t, token, reasons...)
	if strings.Contains(why, "Secret") || len(why) > 1500 {
		t.Errorf("too much: %s", why)
	}
	read, err := s.Inspect(token)
	beforeKeys := !strings.Contains(why, "found kid") && !strings.Contains(why, "signature")
	unread := strings.HasPrefix(why, "claims: ") || strings.Contains(why, "the token ")
	if beforeKeys && (err == nil || err.Error() != why) || unread != (read.Claims == nil) {
		t.Errorf("Inspect gives %+v, %v", read, err)
	}
	if s.wire.count() > before && beforeKeys {
		t.Errorf("it causes requests: %v", s.wire.requests)
	}
}
