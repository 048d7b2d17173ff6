package app

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"weboffice-functions/shared/imm"
	"weboffice-functions/shared/platform"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/session"
	"weboffice-functions/shared/weboffice"
)

// Config is what the environment says, read once.
type Config struct {
	SessionKeys [][]byte
	LinkKeys    []weboffice.Secret // decoded, 32 bytes each
	UserSalt    weboffice.Secret
	PolicyFile  string
	Project     string
	Region      string
	IMMEndpoint string
	LogLevel    slog.Level
	Listen      platform.Listen
}

const (
	sessionKeys, linkKeys = "WEBOFFICE_SESSION_KEYS", "WEBOFFICE_LINK_KEYS"
	makeKey               = "make one with `openssl rand -base64 32`"
)

var regionName = regexp.MustCompile(`^[a-z]{2,4}(-[a-z0-9]+)+$`)

// ReadConfig reads the functions' own variables through getenv. The error joins every problem, each
// with its variable and its fix and without its value. No network.
func ReadConfig(getenv func(string) string) (Config, error) {
	r := &configReader{getenv: getenv, keys: map[string]string{}}
	program, _ := os.Executable() // where nobody knows, "" stands for the working directory
	c := Config{
		SessionKeys: keys[[]byte](r, sessionKeys),
		LinkKeys:    keys[weboffice.Secret](r, linkKeys),
		UserSalt:    weboffice.Secret(getenv("WEBOFFICE_USER_SALT")),
		PolicyFile: cmp.Or(getenv("WEBOFFICE_POLICY_FILE"),
			filepath.Join(filepath.Dir(program), "policy.yaml")),
		Project: getenv("WEBOFFICE_PROJECT"),
		Region:  cmp.Or(getenv("WEBOFFICE_REGION"), getenv("FC_REGION")),
	}
	if getenv(sessionKeys) == "" {
		r.problem("%s is not set: %s, the same for both functions", sessionKeys, makeKey)
	}
	if !regionName.MatchString(c.Region) {
		r.problem("WEBOFFICE_REGION must be the IMM project's region, such as cn-shanghai" +
			" (on Function Compute FC_REGION is the default; elsewhere nothing can be guessed)")
	}
	if ok, _ := regexp.MatchString(`^[\w-]*$`, c.Project); !ok {
		r.problem("WEBOFFICE_PROJECT must be the IMM project's name: letters, digits, - and _")
	}
	endpoint := getenv("WEBOFFICE_IMM_ENDPOINT")
	c.IMMEndpoint = cmp.Or(endpoint, "imm."+c.Region+".aliyuncs.com")
	if _, err := imm.ParseEndpoint(c.IMMEndpoint); err != nil && endpoint != "" {
		r.problem("WEBOFFICE_IMM_ENDPOINT: %v", err)
	}
	if level := getenv("LOG_LEVEL"); level != "" && c.LogLevel.UnmarshalText([]byte(level)) != nil {
		r.problem("LOG_LEVEL is DEBUG, INFO, WARN or ERROR")
	}
	// what the SDK's packages look for in it
	const printed = `(?i)dara|tea|sdk|credential|signer`
	if ok, _ := regexp.MatchString(printed, getenv("DEBUG")); ok {
		r.problem("DEBUG makes the SDK print credentials and tokens: unset it")
	}
	var err error
	if c.Listen, err = platform.ReadListen(getenv); err != nil {
		r.problem("%w", err)
	}
	return c, errors.Join(r.problems...)
}

// PolicyOptions are what a policy is read with under this configuration.
func (c Config) PolicyOptions() policy.Options {
	endpoint, err := imm.ParseEndpoint(c.IMMEndpoint)
	return policy.Options{Project: c.Project, Salt: c.UserSalt,
		Loopback: err == nil && weboffice.Loopback(endpoint.Hostname())}
}

// LinkKeys reads WEBOFFICE_LINK_KEYS as ReadConfig does, for whoever mints links and has no other
// variable at hand. Not set: none, and no error.
func LinkKeys(getenv func(string) string) ([]weboffice.Secret, error) {
	r := &configReader{getenv: getenv, keys: map[string]string{}}
	keys[[]byte](r, sessionKeys) // which none may equal
	return keys[weboffice.Secret](r, linkKeys), errors.Join(r.problems...)
}

type configReader struct {
	getenv   func(string) string
	problems []error
	keys     map[string]string // the variable that holds a key
}

func (r *configReader) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Errorf(format, args...))
}

// keys reads comma-separated base64 of 32 bytes each, standard or URL alphabet.
func keys[Key []byte | weboffice.Secret](r *configReader, variable string) (keys []Key) {
	given := r.getenv(variable)
	if given == "" {
		return nil
	}
	for i, text := range strings.Split(given, ",") {
		text = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(
			strings.TrimSpace(text)), "=")
		key, err := base64.RawStdEncoding.DecodeString(text)
		switch {
		case err != nil || len(key) != session.KeySize:
			r.problem("%s: key %d is not the base64 of 32 bytes: %s", variable, i+1, makeKey)
		case weak(key):
			r.problem("%s: key %d does not look random: %s", variable, i+1, makeKey)
		case r.keys[string(key)] == variable:
			r.problem("%s: key %d is there twice: drop it", variable, i+1)
		case r.keys[string(key)] != "":
			r.problem("%s holds a session key: whoever mints links could open sealed tokens; %s",
				variable, makeKey)
		default:
			keys = append(keys, Key(key))
		}
		r.keys[string(key)] = variable
	}
	return keys
}

// weak finds keys that nobody rolled: text, counting bytes, few different bytes. Of 32 random bytes
// fewer than 16 different ones, or only printable ones, do not happen.
func weak(key []byte) bool {
	different, printable, counting := map[byte]bool{}, true, true
	for i, b := range key {
		different[b] = true
		printable = printable && b >= 0x20 && b < 0x7f
		counting = counting && b-key[0] == byte(i)*(key[1]-key[0])
	}
	return len(different) < 16 || printable || counting
}
