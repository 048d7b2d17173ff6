package app_test

import (
	"io"
	"net/http"
	"time"

	"weboffice-functions/shared/standin/office"
)

// once lets one call of IMM fail; twice also the next, which after a refresh is the generate in its
// place.
func once(f office.Fault) func(*rig) {
	return func(x *rig) { x.office.Fail("", 1, f) }
}

func twice(f office.Fault) func(*rig) {
	return func(x *rig) { x.office.Fail("", 2, f) }
}

// inTurn lets the next calls fail one after the other.
func inTurn(faults ...office.Fault) func(*rig) {
	return func(x *rig) {
		for _, f := range faults {
			x.office.Fail("", 1, f)
		}
	}
}

func mend(x *rig) { x.network.set(nil) }

// gateway answers in IMM's place, in its own words.
func gateway(status int, header ...string) func(*rig) {
	return func(x *rig) {
		x.front.answerNext(func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<h1>gateway</h1>")
		})
	}
}

// short is for faults that last until the deadline.
var short = rigOptions{deadline: time.Second}

// networkFaults: IMM cannot be reached, or is lost on the way.
var networkFaults = []fault{
	{
		name: "nobody listens", begin: func(x *rig) {
			x.network.set(refuse)
			x.transport.CloseIdleConnections()
		}, end: mend, fix: true,
		generate: cell{"503 ServiceUnavailable", "", "ServiceUnavailable, 0 billed", "generate",
			"1+0"},
		refresh: cell{"503 ServiceUnavailable", "", "ServiceUnavailable, 0 billed", "refresh",
			"1+1"},
	},
	{
		name: "DNS gone", begin: func(x *rig) {
			x.network.set(loseName)
			x.transport.CloseIdleConnections()
		}, end: mend, fix: true,
		generate: cell{"503 ServiceUnavailable", "", "ServiceUnavailable, 0 billed", "generate",
			"1+0"},
		refresh: cell{"503 ServiceUnavailable", "", "ServiceUnavailable, 0 billed", "refresh",
			"1+1"},
	},
	{
		name: "cut before the work", begin: once(office.Cut()),
		generate: cell{"502 BadGateway", "G cut", "BadGateway, 0 billed, maybe 1 more", "generate",
			"1+0"},
		refresh: cell{"200", "R cut, G done", "fallback, 1 billed, maybe 1 more", "", "2+0"},
	},
	{
		name: "cut after the work", begin: once(office.Cut().AfterWork()),
		generate: cell{"502 BadGateway", "G done", "BadGateway, 0 billed, maybe 1 more", "generate",
			"2+0"},
		refresh: cell{"200", "R done, G done", "fallback, 1 billed, maybe 1 more", "", "2+1"},
	},
	{
		name: "slow beyond the deadline", options: short, begin: once(office.Slow(nil)),
		generate: cell{"504 ServiceTimeout", "G slow", "ServiceTimeout, 0 billed, maybe 1 more",
			"generate", "1+0"},
		refresh: cell{"200", "R slow, G done", "fallback, 1 billed, maybe 1 more", "", "2+0"},
	},
	{
		name: "slow beyond the deadline after the work", options: short,
		begin: once(office.Slow(nil).AfterWork()),
		generate: cell{"504 ServiceTimeout", "G done", "ServiceTimeout, 0 billed, maybe 1 more",
			"generate", "2+0"},
		refresh: cell{"200", "R done, G done", "fallback, 1 billed, maybe 1 more", "", "2+1"},
	},
	{
		name:     "connections that IMM closed during a freeze",
		begin:    frozen(func(x *rig) { x.web.CloseClientConnections() }),
		generate: cell{"200", "G done", "opened, 1 billed", "", "2+0"},
		refresh:  cell{"200", "R done", "refreshed, 1 billed", "", "2+1"},
	},
	{
		name:     "half-open connections after a freeze",
		begin:    frozen(func(x *rig) { x.network.forget() }),
		generate: cell{"200", "G done", "opened, 1 billed", "", "2+0"},
		refresh:  cell{"200", "R done", "refreshed, 1 billed", "", "2+1"},
	},
}

// frozen lets an instance that has just worked, and so has connections, stand still for an hour.
func frozen(meanwhile func(*rig)) func(*rig) {
	return func(x *rig) {
		x.open(x.proof("bob"), budget)
		x.client.CloseIdleConnections() // the pages' own
		meanwhile(x)
		x.advance(time.Hour)
	}
}

// answerFaults: IMM, or a gateway before it, answers what helps nobody.
var answerFaults = []fault{
	{
		name: "throttled", begin: once(office.Throttled(0)),
		generate: cell{"429 Throttling, retry after 2", "G Throttling.User", "Throttling, 0 billed",
			"generate", "1+0"},
		refresh: cell{"429 Throttling, retry after 2", "R Throttling.User", "Throttling, 0 billed",
			"refresh", "1+1"},
	},
	{
		name: "throttled with Retry-After", begin: once(office.Throttled(7 * time.Second)),
		generate: cell{"429 Throttling, retry after 7", "G Throttling.User", "Throttling, 0 billed",
			"generate", "1+0"},
		refresh: cell{"429 Throttling, retry after 7", "R Throttling.User", "Throttling, 0 billed",
			"refresh", "1+1"},
	},
	{
		name: "throttled by a gateway", begin: gateway(429, "Retry-After", "9"),
		generate: cell{"429 Throttling, retry after 9", "", "Throttling, 0 billed", "generate",
			"1+0"},
		refresh: cell{"429 Throttling, retry after 9", "", "Throttling, 0 billed", "refresh",
			"1+1"},
	},
	{
		name: "500", begin: once(office.InternalError()),
		generate: cell{"502 BadGateway", "G InternalError", "BadGateway, 0 billed, maybe 1 more",
			"generate", "1+0"},
		refresh: cell{"502 BadGateway", "R InternalError", "BadGateway, 0 billed, maybe 1 more",
			"refresh", "2+0"},
	},
	{
		name: "500 after the work", begin: once(office.InternalError().AfterWork()),
		generate: cell{"502 BadGateway", "G done", "BadGateway, 0 billed, maybe 1 more", "generate",
			"2+0"},
		refresh: cell{"502 BadGateway", "R done", "BadGateway, 0 billed, maybe 1 more", "refresh",
			"2+1"},
	},
	{
		name: "503 empty", begin: once(office.Unavailable()),
		generate: cell{"503 ServiceUnavailable", "G 503 empty",
			"ServiceUnavailable, 0 billed, maybe 1 more", "generate", "1+0"},
		refresh: cell{"503 ServiceUnavailable", "R 503 empty",
			"ServiceUnavailable, 0 billed, maybe 1 more", "refresh", "2+0"},
	},
	{
		name: "503 empty after the work", begin: once(office.Unavailable().AfterWork()),
		generate: cell{"503 ServiceUnavailable", "G done",
			"ServiceUnavailable, 0 billed, maybe 1 more", "generate", "2+0"},
		refresh: cell{"503 ServiceUnavailable", "R done",
			"ServiceUnavailable, 0 billed, maybe 1 more", "refresh", "2+1"},
	},
	{
		name: "HTML", begin: once(office.HTML()),
		generate: cell{"502 BadGateway", "G HTML", "BadGateway, 0 billed, maybe 1 more", "generate",
			"1+0"},
		refresh: cell{"502 BadGateway", "R HTML", "BadGateway, 0 billed, maybe 1 more", "refresh",
			"2+0"},
	},
	{
		name: "truncated JSON", begin: once(office.Truncated()),
		generate: cell{"502 BadGateway", "G done", "BadGateway, 0 billed, maybe 1 more", "generate",
			"2+0"},
		refresh: cell{"200", "R done, G done", "fallback, 1 billed, maybe 1 more", "", "2+1"},
	},
	{
		name: "wrong types", begin: once(office.WrongTypes()),
		generate: cell{"502 BadGateway", "G done", "BadGateway, 0 billed, maybe 1 more", "generate",
			"2+0"},
		refresh: cell{"200", "R done, G done", "fallback, 1 billed, maybe 1 more", "", "2+1"},
	},
	{
		name: "an empty object", begin: gateway(200),
		generate: cell{"502 BadGateway", "", "BadGateway, 0 billed, maybe 1 more", "generate",
			"1+0"},
		refresh: cell{"200", "G done", "fallback, 1 billed, maybe 1 more", "", "2+0"},
	},
	{
		name: "credentials that ended in mid-flight", fix: true,
		begin: func(x *rig) {
			x.office.SetCredentials(office.Credentials{AccessKeyID: "STS.next",
				Secret: "next-secret-3Hw8", SecurityToken: "next-token-6Lm1"})
		},
		end: func(x *rig) { x.role.renew(x.world) },
		generate: cell{"503 ServiceUnavailable", "", "ServiceUnavailable, 0 billed", "generate",
			"1+0"},
		refresh: cell{"503 ServiceUnavailable", "", "ServiceUnavailable, 0 billed", "refresh",
			"1+1"},
	},
	{
		name: "credentials that IMM calls expired", begin: once(office.SecurityTokenExpired()),
		fix: true,
		generate: cell{"503 ServiceUnavailable", "G InvalidSecurityToken.Expired",
			"ServiceUnavailable, 0 billed", "generate", "1+0"},
		refresh: cell{"503 ServiceUnavailable", "R InvalidSecurityToken.Expired",
			"ServiceUnavailable, 0 billed", "refresh", "1+1"},
	},
	{
		name: "refused by a gateway", begin: gateway(403), fix: true,
		generate: cell{"502 ServiceMisconfigured", "", "ServiceMisconfigured, 0 billed", "generate",
			"1+0"},
		refresh: cell{"502 ServiceMisconfigured", "", "ServiceMisconfigured, 0 billed", "refresh",
			"1+1"},
	},
	{
		name: "refresh token refused", begin: once(office.Refused(400, "InvalidRefreshToken",
			"no")),
		refresh: cell{"200", "R InvalidRefreshToken, G done", "fallback, 1 billed", "", "2+0"},
	},
	{
		name: "a right that is missing for a moment", begin: once(office.NoPermission()), fix: true,
		generate: cell{"502 ServiceMisconfigured", "G NoPermission",
			"ServiceMisconfigured, 0 billed", "generate", "1+0"},
		refresh: cell{"502 ServiceMisconfigured", "R NoPermission",
			"ServiceMisconfigured, 0 billed", "refresh", "1+1"},
	},
}

// doubleFaults: the refresh fails so that its token may be spent, and the generate in its place
// fails too. When the page comes again the instance must know, and generate at once.
var doubleFaults = []fault{
	{
		name: "cut twice", begin: twice(office.Cut()),
		refresh: cell{"502 BadGateway", "R cut, G cut",
			"BadGateway, 0 billed, maybe 1 more, fallback", "refresh", "2+0"},
	},
	{
		name: "cut after the work, twice", begin: twice(office.Cut().AfterWork()),
		refresh: cell{"502 BadGateway", "R done, G done",
			"BadGateway, 0 billed, maybe 1 more, fallback", "refresh", "3+1"},
	},
	{
		name: "slow twice", options: short, begin: twice(office.Slow(nil)),
		refresh: cell{"504 ServiceTimeout", "R slow, G slow",
			"ServiceTimeout, 0 billed, maybe 1 more", "refresh", "2+0"},
	},
	{
		name:  "cut after the work, then throttled",
		begin: inTurn(office.Cut().AfterWork(), office.Throttled(3*time.Second)),
		refresh: cell{"429 Throttling, retry after 3", "R done, G Throttling.User",
			"Throttling, 0 billed, maybe 1 more, fallback", "refresh", "2+1"},
	},
	{
		name: "truncated JSON, then 500", begin: inTurn(office.Truncated(), office.InternalError()),
		refresh: cell{"502 BadGateway", "R done, G InternalError",
			"BadGateway, 0 billed, maybe 1 more, fallback", "refresh", "2+1"},
	},
	{
		name:  "500 after the work, then throttled",
		begin: inTurn(office.InternalError().AfterWork(), office.Throttled(0)),
		refresh: cell{"502 BadGateway", "R done", "BadGateway, 0 billed, maybe 1 more", "refresh",
			"2+1"},
	},
	{
		name:  "refused, then throttled",
		begin: inTurn(office.Refused(400, "InvalidRefreshToken", "no"), office.Throttled(0)),
		refresh: cell{"429 Throttling, retry after 2", "R InvalidRefreshToken, G Throttling.User",
			"Throttling, 0 billed, fallback", "refresh", "2+0"},
	},
	{
		name: "throttled, then 503 empty", begin: inTurn(office.Throttled(0), office.Unavailable()),
		refresh: cell{"429 Throttling, retry after 2", "R Throttling.User", "Throttling, 0 billed",
			"refresh", "2+0"},
	},
}

// clockFaults: IMM's clock is not the functions'. Ten minutes are within what a signature may be
// off, twenty are not.
var clockFaults = []fault{
	{
		name: "IMM's clock ten minutes ahead", options: rigOptions{ahead: 10 * time.Minute},
		begin:    signedBy(10 * time.Minute),
		generate: cell{"200", "G done", "opened, 1 billed", "", "1+0"},
		refresh:  cell{"200", "R done", "refreshed, 1 billed", "", "1+1"},
	},
	{
		name: "IMM's clock ten minutes behind", options: rigOptions{ahead: -10 * time.Minute},
		begin:    signedBy(-10 * time.Minute),
		generate: cell{"200", "G done", "opened, 1 billed", "", "1+0"},
		refresh:  cell{"200", "R done", "refreshed, 1 billed", "", "1+1"},
	},
	{
		name: "IMM's clock twenty minutes ahead", options: rigOptions{ahead: 20 * time.Minute},
		begin: signedBy(20 * time.Minute), end: signedBy(0), fix: true,
		generate: cell{"503 ServiceUnavailable", "", "ServiceUnavailable, 0 billed", "generate",
			"1+0"},
		refresh: cell{"503 ServiceUnavailable", "", "ServiceUnavailable, 0 billed", "refresh",
			"1+1"},
	},
	{
		name: "IMM's clock twenty minutes behind", options: rigOptions{ahead: -20 * time.Minute},
		begin: signedBy(-20 * time.Minute), end: signedBy(0), fix: true,
		generate: cell{"503 ServiceUnavailable", "", "ServiceUnavailable, 0 billed", "generate",
			"1+0"},
		refresh: cell{"503 ServiceUnavailable", "", "ServiceUnavailable, 0 billed", "refresh",
			"1+1"},
	},
}

// signedBy sets how far IMM finds the time of a signature to lie behind.
func signedBy(ahead time.Duration) func(*rig) {
	return func(x *rig) { x.signed.Store(int64(ahead)) }
}
