package broker

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// A refusal is one line of at most 8 KB, whatever the policy's length and whatever the names in it.
func TestRefusalIsAShortLine(t *testing.T) {
	var rules strings.Builder
	for n := range 3000 {
		fmt.Fprintf(&rules, "  - {name: rule %d %s, documents: oss://test-bucket/**, "+
			"grant: [view], callers: {issuer: staff, claims: {team: \"%d\"}}}\n",
			n, strings.Repeat("名", n%50), n)
		fmt.Fprintf(&rules, "  - {name: other %d, documents: oss://other-bucket/**, "+
			"grant: [view], callers: {issuer: staff}}\n", n)
	}
	text := "project: test-project\nissuers:\n" +
		"  staff: {url: https://login.example.com, audience: weboffice}\nrules:\n" + rules.String()
	at(t, text, func(t *testing.T, b *site) {
		_, err := b.generate(passerBy, document)
		wantKind(t, err, weboffice.Unauthenticated)
		_, err = b.generate(person("https://login.example.com", strings.Repeat("\x01", 255)),
			"oss://test-bucket/"+strings.Repeat(`"`, 1000)+".docx")
		wantKind(t, err, weboffice.Forbidden)
		for _, line := range b.logged("decision") {
			if _, ok := line["rule: rule 3 名名名"]; !ok || line["rules"] == nil {
				t.Errorf("%v", line)
			}
			for name := range line {
				if strings.Contains(name, "other") {
					t.Errorf("a rule for other documents is named: %s", name)
				}
			}
		}
		for line := range strings.Lines(b.log.String()) {
			if len(line) > 8<<10 || len(line) < 4<<10 {
				t.Errorf("%d bytes: %.300s", len(line), line)
			}
		}
	})
}

func TestTextsAreCutByTheirJSON(t *testing.T) {
	for _, text := range []string{"", "plain", `"quoted"`, "\x00\x01", "文字", "a\xffb", "\u2028",
		strings.Repeat("x", 100), strings.Repeat("文", 100), strings.Repeat("\x1f", 100)} {
		cut, length := cutTo(text, 60)
		encoded, err := json.Marshal(strings.TrimSuffix(cut, "…"))
		if err != nil || len(encoded)-2 > length || length > 60 {
			t.Errorf("%q: %q has %d bytes, said %d", text, cut, len(encoded)-2, length)
		}
		if len(text) < 10 && cut != text {
			t.Errorf("%q became %q", text, cut)
		}
	}
}

// The audit lines add up to the bill, whatever becomes of the calls. The vendor charges for what it
// answers with a 4xx, and not with a 5xx.
func TestAuditLinesAddUpToTheBill(t *testing.T) {
	at(t, openToAnyone, func(t *testing.T, b *site) {
		lines, billed := 0, 0
		check := func(fault string) (line map[string]any) {
			all := b.logged("decision")
			if lines++; len(all) != lines {
				t.Fatalf("%s: %d lines, want %d", fault, len(all), lines)
			}
			line = all[lines-1]
			unsure := map[any]int{true: 1}[line["maybeBilled"]]
			if line["fallback"] == true && line["billed"] == 0.0 {
				unsure *= 2 // as the guide's query does
			}
			charged := b.office.Calls().Billed() - billed - int(line["billed"].(float64))
			if charged < 0 || charged > unsure {
				t.Errorf("%s: %d more are charged than in %v", fault, charged, line)
			}
			billed = b.office.Calls().Billed()
			return line
		}
		for name, c := range map[string]struct {
			fault office.Fault
			maybe bool
		}{
			"spent":                       {office.Refused(400, "InvalidRefreshToken", "no"), true},
			"throttled":                   {office.Throttled(0), true},
			"no answer after the work":    {office.Cut().AfterWork(), true},
			"server error after the work": {office.InternalError().AfterWork(), false},
		} {
			var opened weboffice.RefreshRequest
			for _, failing := range []string{"", office.Refresh} { // with the generate in its place
				opened = b.mustGenerate(passerBy)
				check(name)
				time.Sleep(15 * time.Minute)
				b.office.Fail(failing, 2, c.fault)
				_, _ = b.Refresh(t.Context(), passerBy, opened)
				check(name)
				b.office.ClearFaults()
			}
			b.office.Fail(office.Generate, 1, c.fault)
			_, _ = b.generate(passerBy, document)
			wantLine(t, check(name), "billed", 0.0, "maybeBilled", c.maybe)
			b.mustRefresh(b.Broker, passerBy, opened)
			wantLine(t, check(name), "maybeBilled", false)
		}
	})
}

// One line for each request: what a page is told, what it cost, and whose it was.
func TestEachUseCaseHasOneLine(t *testing.T) {
	at(t, tenAMinute, func(t *testing.T, b *site) {
		ctx := weboffice.WithRequestID(t.Context(), "R-1")
		opened, err := b.Generate(ctx, ann, weboffice.Request{SourceURI: document,
			Permission: &weboffice.Permission{Copy: true}})
		if err != nil {
			t.Fatal(err)
		}
		for _, pause := range []time.Duration{5 * time.Minute, 20 * time.Minute} {
			time.Sleep(pause)
			if _, err := b.Refresh(ctx, ann, shown(opened)); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = b.Generate(ctx, passerBy, weboffice.Request{SourceURI: "https://x/?Signature=s"})
		token, lines := fingerprint(opened.AccessToken), b.logged("decision")
		if len(lines) != 4 {
			t.Fatalf("%d lines", len(lines))
		}
		wantLine(t, lines[0], "function", "generate", "outcome", "opened", "billed", 1.0,
			"asked", "view edit copy", "granted", "view edit", "rule", "staff", "subject", "ann",
			"issuer", "staff", "document", document, "token", token, "level", "INFO",
			"userId", weboffice.UserID("", ann.IssuerURL, "ann"))
		wantLine(t, lines[1], "function", "refresh", "outcome", "early", "billed", 0.0,
			"immRequestId", "", "token", token)
		wantLine(t, lines[2], "function", "refresh", "outcome", "refreshed", "billed", 1.0)
		wantLine(t, lines[3], "function", "generate", "outcome", "InvalidArgument.SourceURI",
			"document", "", "level", "WARN", "subject", "")
		for _, line := range lines {
			wantLine(t, line, "requestId", "R-1", "maybeBilled", false, "fallback", false)
		}
		names := strings.Join(slices.Sorted(maps.Keys(lines[0])), " ")
		if names != "asked billed document durationMs fallback function granted immRequestId"+
			" issuer level maybeBilled msg outcome requestId rule subject time token userId" {
			t.Errorf("a line has %s", names)
		}
		if id := lines[0]["immRequestId"]; id == "" || id == "R-1" {
			t.Errorf("IMM's RequestId is %v", id)
		}
	})
}
