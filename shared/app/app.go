// Package app joins the packages: it reads the configuration, builds what the two functions share
// and runs one of them. It is the only place where the parts know of each other.
//
// Everything an operator can get wrong (variables, keys, the policy file) is found when the
// function starts, all together, each with its fix. Nothing is fetched before the first request.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"weboffice-functions/shared/broker"
	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/credentials"
	"weboffice-functions/shared/httpapi"
	"weboffice-functions/shared/imm"
	"weboffice-functions/shared/platform"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/session"
	"weboffice-functions/shared/weboffice"
)

// App is what both functions share. It never changes and is safe for concurrent use.
type App struct {
	Config Config
	Policy *policy.Policy
	Edge   *httpapi.Edge
	Broker *broker.Broker
	source credentials.Source
	imm    *imm.Client
}

// New builds an App from the environment that getenv shows. The error joins all problems.
func New(getenv func(string) string, clock func() time.Time, logger *slog.Logger) (*App, error) {
	now := weboffice.WallClock(clock)
	c, configErr := ReadConfig(getenv)
	source, sourceErr := credentials.FromEnvironment(credentials.Options{Getenv: getenv, Now: now,
		Logger: logger})
	rules, policyErr := readPolicy(c, getenv)
	if err := errors.Join(configErr, sourceErr, policyErr); err != nil {
		return nil, err
	}
	verifier, verifierErr := caller.NewVerifier(caller.Options{
		Issuers: rules.Issuers(), LinkKeys: c.LinkKeys, RevokedLinks: rules.RevokedLinks(),
		Client: &http.Client{}, Now: now, Logger: logger,
	})
	client, clientErr := imm.New(imm.Options{Endpoint: c.IMMEndpoint, Region: c.Region,
		Credentials: source, Now: now, Logger: logger})
	sealer, sealerErr := session.NewSealer(c.SessionKeys, rules.Project(), c.Region)
	if err := errors.Join(verifierErr, clientErr, sealerErr); err != nil {
		return nil, err
	}
	b := broker.New(broker.Options{Policy: rules, IMM: client, Sealer: sealer, Now: now,
		Logger: logger})
	return &App{
		Config: c, Policy: rules, Broker: b, source: source, imm: client,
		Edge: &httpapi.Edge{Origins: rules.Origins(), QuickStart: rules.QuickStart(),
			Verifier: verifier, Limits: b.Limits(), Now: now, Logger: logger},
	}, nil
}

// readPolicy reads the policy file as a function with this configuration would.
func readPolicy(c Config, getenv func(string) string) (*policy.Policy, error) {
	text, err := os.ReadFile(c.PolicyFile)
	if err != nil {
		return nil, fmt.Errorf("WEBOFFICE_POLICY_FILE: the policy cannot be read, %w: put"+
			" policy.yaml beside the program, or name its path", errors.Unwrap(err))
	}
	options := c.PolicyOptions()
	options.NoLinkKeys = getenv("WEBOFFICE_LINK_KEYS") == ""
	rules, err := policy.Parse(text, options)
	if err != nil {
		return nil, fmt.Errorf("the policy has mistakes, at line:column:\n%w", err)
	}
	return rules, nil
}

// Main runs one function until the platform stops it, and exits 1 with all problems when it cannot
// start.
func Main(handler func(*App) http.Handler) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	Tune(os.Getenv)
	if err := Run(ctx, os.Getenv, os.Stdout, handler); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Tune fits Go's runtime to a function.
//
// Garbage is collected less often than by Go itself: each request leaves short-lived garbage, and a
// function pays for its full memory anyway. With 200 requests at once, GOGC at 100, 200, 400 and
// 1000 took 205, 186, 170 and 164 µs of processor time for each, and 44, 55, 78 and 143 MB at the
// peak (a naive handler: 415 µs, 35 MB). 400 has most of the gain and leaves room in 128 MB. From
// three quarters of the function's memory on Go collects as often as it must: with 128 MB and
// GOGC=1000 the peak was 99 MB.
//
// Where the memory says that the platform gives one processor at most, Go uses one: with two it
// wakes a thread for each step that a request takes in another goroutine. Of calls one after the
// other each took 195 µs with two and 152 with one.
//
// GOGC, GOMEMLIMIT and GOMAXPROCS, if set, win.
func Tune(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	// MB
	size, err := strconv.ParseInt(cmp.Or(getenv("FC_FUNCTION_MEMORY_SIZE"),
		getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")), 10, 32)
	if err != nil || size <= 0 {
		return
	}
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(size << 20 / 4 * 3)
	}
	if size <= 1024 && getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1) // Function Compute gives 1 GB one processor at most, Lambda 0.6
	}
}

// Run is Main with everything else it touches passed in.
func Run(ctx context.Context, getenv func(string) string, stdout io.Writer,
	handler func(*App) http.Handler) error {
	var level slog.LevelVar
	logger := slog.New(slog.NewJSONHandler(stdout, &slog.HandlerOptions{Level: &level}))
	a, err := New(getenv, time.Now, logger)
	if err != nil {
		return fmt.Errorf("the function cannot start:\n%w", err)
	}
	level.Set(a.Config.LogLevel)
	logger.InfoContext(ctx, "starting", "revision", revision(), "platform",
		string(platform.Detect(getenv)), "region", a.Config.Region,
		"projects", a.Policy.Projects(), "rules", a.Policy.Rules(), "credentials",
		credentials.Describe(a.source))
	return platform.Serve(ctx, handler(a), platform.Options{Getenv: getenv, Logger: logger,
		Listen: a.Config.Listen, Warm: a.imm.Warm})
}

// revision names what was built.
func revision() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				return setting.Value
			}
		}
	}
	return "unknown"
}
