package app_test

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"testing"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// always are the attributes that each audit line has.
var always = []string{"time", "level", "msg", "requestId", "function", "issuer", "subject",
	"document", "rule", "asked", "outcome",
	"billed", "maybeBilled",
	"fallback", "immRequestId", "durationMs"}

// wantLine wants one more audit line than before, with these attributes and no others.
func (s *site) wantLine(before int, want map[string]any, further ...string) map[string]any {
	s.t.Helper()
	lines := s.decisions()
	if len(lines) != before+1 {
		s.t.Fatalf("%d audit lines, want %d", len(lines), before+1)
	}
	line := lines[before]
	for name, value := range want {
		if line[name] != value {
			s.t.Errorf("%s is %v, want %v", name, line[name], value)
		}
	}
	names := slices.Sorted(slices.Values(append(slices.Clone(always), further...)))
	if got := slices.Sorted(maps.Keys(line)); !slices.Equal(got, names) {
		s.t.Errorf("the line has\n%v, want\n%v", got, names)
	}
	return line
}

func tokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:4])
}

func TestEachDecisionHasOneAuditLine(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	ann := s.proof("ann")
	opened := s.generate(ann, object("SourceURI", plan, "Permission",
		"{'Readonly':'true','Copy':'true','History':'true'}")).want(t, 200, "")
	line := s.wantLine(0, map[string]any{
		"level": "INFO", "function": "generate", "issuer": "staff", "subject": "ann",
		"document": plan, "rule": "team folders",
		"asked":   "view history copy",
		"granted": "view copy", "outcome": "opened", "billed": 1.0, "maybeBilled": false,
		"fallback": false, "immRequestId": opened.RequestId,
		"token": tokenHash(opened.AccessToken), "userId": weboffice.UserID("user-salt-3Kd8",
			s.people.URL(), "ann"), "durationMs": 0.0,
	}, "granted", "token", "userId")
	if line["requestId"] == line["immRequestId"] || line["requestId"] == "" {
		t.Errorf("RequestIds %v and %v", line["requestId"], line["immRequestId"])
	}

	early := s.refresh(ann, opened)
	s.wantLine(1, map[string]any{"function": "refresh", "outcome": "early", "billed": 0.0,
		"granted": "view copy",
		"asked":   "view history copy",
		"token":   tokenHash(opened.AccessToken), "immRequestId": "", "requestId": early.RequestId,
		"document": plan}, "granted", "token", "userId")

	s.clock.Advance(due)
	renewed := s.refresh(ann, opened)
	s.wantLine(2, map[string]any{"function": "refresh", "outcome": "refreshed", "billed": 1.0,
		"token":        tokenHash(renewed.AccessToken),
		"immRequestId": renewed.RequestId, "fallback": false}, "granted", "token", "userId")
	again := s.refresh(ann, opened)
	s.wantLine(3, map[string]any{"outcome": "replayed", "billed": 0.0,
		"token":        tokenHash(renewed.AccessToken),
		"immRequestId": again.RequestId, "fallback": false},
		"granted", "token", "userId")

	s.clock.Advance(due)
	s.office.Fail(office.Refresh, 1, office.Cut())
	fallen := s.refresh(ann, renewed)
	s.wantLine(4, map[string]any{"outcome": "fallback", "billed": 1.0, "maybeBilled": true,
		"fallback": true, "immRequestId": fallen.RequestId,
		"token": tokenHash(fallen.AccessToken)}, "granted", "token", "userId")

	after := s.another(strings.Replace(teamPolicy, "copy, print, export]\n", "print]\n", 1))
	changed := after.refresh(ann, fallen).want(t, 200, "")
	after.wantLine(0, map[string]any{"outcome": "regenerated", "billed": 1.0, "granted": "view",
		"fallback":     false,
		"immRequestId": changed.RequestId},
		"granted", "token", "userId")

	opened = s.open(guest, handbook)
	s.wantLine(5, map[string]any{"issuer": "", "subject": "", "rule": "handbook", "asked": "all",
		"granted": "view copy",
		"userId":  s.sentUser(t).Id},
		"granted", "token", "userId")
	s.open(s.link("invitation", plan, "view"), plan)
	s.wantLine(6, map[string]any{"issuer": "links", "subject": "link invitation",
		"rule": "share links", "granted": "view"}, "granted",
		"token", "userId")
	s.open(s.mint(caller.LinkClaims{ID: "other", Document: plan, Grant: []string{"view"},
		Subject: "u-7"}), plan)
	s.wantLine(7, map[string]any{"issuer": "links", "subject": "u-7"}, "granted", "token", "userId")
}

// "Why was this refused?" is answered by the line with the RequestId on the page: each rule for
// the document, and what failed first in it.
func TestRefusalsSayWhyWithoutClaims(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	eve := s.proof("eve", map[string]any{"groups": []string{"zq-guild"},
		"employment": "zq-temporary", "team": "zq-crew"})
	refused := s.generate(eve, source("oss://team-docs/teams/zq-crew/plan.docx")).want(t, 403,
		"Forbidden")
	line := s.wantLine(0, map[string]any{
		"level": "WARN", "function": "generate", "issuer": "staff", "subject": "eve", "rule": "",
		"outcome": "Forbidden", "billed": 0.0,
		"requestId": refused.RequestId, "message": refused.Message,
		"rule: team folders": "the claim groups does not hold",
		"rule: share links":  "the caller is not of this issuer",
	}, "message", "rule: team folders", "rule: share links")
	delete(line, "document")
	for name, value := range line {
		if text, _ := value.(string); strings.Contains(text, "zq-") {
			t.Errorf("%s shows a claim: %s", name, text)
		}
	}

	s.generate(s.proof("eve"), source(bluePlan)).want(t, 403, "Forbidden")
	s.wantLine(1, map[string]any{"rule: team folders": "the claim groups does not hold"},
		"message", "rule: team folders", "rule: share links")
	s.generate(s.proof("ann"), source(bluePlan)).want(t, 403, "Forbidden")
	s.wantLine(2, map[string]any{"rule: team folders": "the segment ${team} is not the caller's"},
		"message", "rule: team folders", "rule: share links")
	s.generate(s.proof("cara"), source(pay)).want(t, 403, "Forbidden")
	s.wantLine(3, map[string]any{"rule: contractors never see pay": "decides"}, "message",
		"rule: contractors never see pay")
	s.generate(s.link("one", handbook, "view"), source(plan)).want(t, 403, "Forbidden")
	s.wantLine(4, map[string]any{"rule: share links": "the link is for other documents",
		"subject": "link one"},
		"message", "rule: team folders", "rule: share links")
	s.generate(guest, source(plan)).want(t, 401, "Unauthenticated")
	s.wantLine(5, map[string]any{"outcome": "Unauthenticated",
		"rule: team folders": "the caller is not of this issuer",
		"cause":              "no rule lets a guest in"},
		"message", "cause", "rule: team folders", "rule: share links")
	s.generate(guest, object("SourceURI", handbook, "UserData", "x")).want(t, 403,
		"Forbidden.UserData")
	s.wantLine(6, map[string]any{"outcome": "Forbidden.UserData", "rule: handbook": "decides"},
		"message", "rule: share links", "rule: handbook")
	s.untouched(t)
	// of what is granted, the rules that did not match are nobody's concern
	s.open(s.proof("ann"), plan)
	s.wantLine(7, map[string]any{"outcome": "opened"}, "granted", "token", "userId")

	opened := s.open(s.proof("ann"), plan)
	s.refresh(s.proof("ann", map[string]any{"groups": nil}), opened).want(t, 403, "Forbidden")
	s.wantLine(9, map[string]any{"function": "refresh", "outcome": "Forbidden", "document": plan,
		"token":              tokenHash(opened.AccessToken),
		"rule: team folders": "the claim groups does not hold"},
		"token", "message", "rule: team folders", "rule: share links")
}

func TestFailuresInTheAudit(t *testing.T) {
	t.Parallel()
	s := start(t, strings.Replace(teamPolicy, "caller: 1000/m", "caller: 9/m", 1))
	ann := s.proof("ann")
	absent := s.generate(ann, source("oss://team-docs/teams/red/absent.docx")).want(t, 404,
		"ResourceNotFound")
	s.wantLine(0, map[string]any{"level": "WARN", "outcome": "ResourceNotFound",
		"rule": "team folders", "billed": 0.0,
		"immRequestId": absent.RequestId},
		"granted", "userId", "message", "cause")
	s.office.Fail(office.Generate, 1, office.NoPermission())
	s.generate(ann, source(plan)).want(t, 502, "ServiceMisconfigured")
	line := s.wantLine(1, map[string]any{"level": "ERROR", "outcome": "ServiceMisconfigured",
		"billed": 0.0}, "granted", "userId", "message",
		"cause", "fix")
	if !strings.Contains(line["fix"].(string), "imm:GenerateWebofficeToken") {
		t.Errorf("fix %v", line["fix"])
	}
	s.office.Fail(office.Generate, 1, office.Truncated())
	s.generate(ann, source(plan)).want(t, 502, "BadGateway") // done, and paid for, but lost
	s.wantLine(2, map[string]any{"outcome": "BadGateway", "billed": 0.0, "maybeBilled": true},
		"granted", "userId", "message", "cause")
	s.office.Fail(office.Generate, 1, office.Cut())
	s.generate(ann, source(plan)).want(t, 502, "BadGateway")
	s.wantLine(3, map[string]any{"outcome": "BadGateway", "billed": 0.0, "maybeBilled": true},
		"granted", "userId", "message", "cause")

	opened := s.open(ann, plan)
	foreign := s.refresh(s.proof("bob"), opened).want(t, 400, "InvalidArgument.RefreshToken")
	s.wantLine(5, map[string]any{"function": "refresh", "subject": "bob",
		"outcome":   "InvalidArgument.RefreshToken",
		"requestId": foreign.RequestId, "billed": 0.0,
		"token": tokenHash(opened.AccessToken)}, "token", "message")
	s.refresh(ann, reply{AccessToken: "x", RefreshToken: "y"}).want(t, 400,
		"InvalidArgument.RefreshToken")
	s.wantLine(6, map[string]any{"document": "", "asked": "",
		"outcome": "InvalidArgument.RefreshToken"}, "token", "message")
	s.clock.Advance(8 * 3600e9)
	ann = s.proof("ann")
	s.refresh(ann, opened).want(t, 410, "SessionEnded")
	s.wantLine(7, map[string]any{"outcome": "SessionEnded", "rule": "team folders", "billed": 0.0},
		"rule: team folders", "token", "message")
	for range 9 {
		s.open(ann, plan)
	}
	s.generate(ann, source(plan)).want(t, 429, "Throttling")
	s.wantLine(17, map[string]any{"outcome": "Throttling", "document": plan, "rule": "",
		"billed": 0.0}, "message")
}

// What a caller calls a document may be anything, such as a signed URL: only an oss:// URI is
// written down.
func TestAuditNamesOnlyDocuments(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	const signed = "https://team-docs.oss-cn-shanghai.aliyuncs.com/plan.docx?Signature=zq-signature"
	s.generate(s.proof("ann"), source(signed)).want(t, 400, "InvalidArgument.SourceURI")
	s.wantLine(0, map[string]any{"document": "", "outcome": "InvalidArgument.SourceURI"}, "message")
	if strings.Contains(s.logs.String(), "zq-signature") {
		t.Error("the signature is in the log")
	}
	s.generate(s.proof("ann"), source(bluePlan)).want(t, 403, "Forbidden")
	if line := s.decision(); line["document"] != bluePlan {
		t.Errorf("%v", line)
	}
}

// The sum of the audit lines is the bill, whatever happens to the calls.
func TestAuditCountsWhatIMMCharges(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	faults := []office.Fault{office.Throttled(0), office.Cut(), office.Cut().AfterWork(),
		office.Truncated(), office.InternalError(),
		office.NoPermission(),
		office.Refused(400, "InvalidRefreshToken", "no"), office.HTML()}
	for _, fault := range faults {
		opened := s.open(guest, handbook)
		s.clock.Advance(due)
		s.office.Fail(office.Refresh, 1, fault)
		s.refresh(guest, opened)
		s.office.Fail(office.Generate, 1, fault)
		s.generate(s.proof("ann"), source(plan))
		s.refresh(guest, opened)
	}
	billed, unsure := 0.0, 0.0
	for _, line := range s.decisions() {
		billed += line["billed"].(float64)
		if line["maybeBilled"] == true {
			unsure++
		}
	}
	calls := s.office.Calls()
	if sum := float64(calls.Generate + calls.Refresh); billed > sum || billed+unsure < sum ||
		unsure == 0 {
		t.Errorf("the lines say %v and perhaps %v more, IMM charges %v", billed, unsure, sum)
	}
	if got := len(s.decisions()); got != 4*len(faults) {
		t.Errorf("%d lines for %d decisions", got, 4*len(faults))
	}
}
