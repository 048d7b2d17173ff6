package weboffice

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
)

func TestUserIDIsStableAndTellsIssuersApart(t *testing.T) {
	// As an operator computes it, with the command in UserID's comment.
	if got := UserID("salt", "https://login.example.com", "ann"); got != "OCIMFJV75N56DYJ" {
		t.Errorf("got %s", got)
	}
	seen := map[string]bool{}
	for _, id := range []string{UserID("", "i", "s"), UserID("", "is", ""), UserID("", "", "is"),
		UserID("x", "i", "s"), UserID("", "j", "s")} {
		if len(id) != 15 || seen[id] {
			t.Errorf("%s is not 15 characters of its own", id)
		}
		seen[id] = true
	}
	if a, b := NewGuest(), NewGuest(); a.Id == b.Id || len(a.Id) != 15 {
		t.Errorf("guests %v %v", a, b)
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string][2]string{
		"Ann":                   {"Ann", "Ann"},
		" Ann Lee ":             {"Ann Lee", "Ann_Lee"},
		"安娜":                    {"安娜", "User"},
		"":                      {"User", "User"},
		"\x00\u202e\n":          {"User", "User"},
		"A\u202eb\x07":          {"Ab", "Ab"},
		strings.Repeat("é", 40): {strings.Repeat("é", 32), "User"},
		"o'Neil <x>":            {"o'Neil <x>", "oNeil_x"},
	} {
		if got := [2]string{CleanName(in), PlainName(in)}; got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	const text = "hunter2-hunter2"
	s := Secret(text)
	holder := struct{ Password Secret }{s}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", s, "holder", holder, "pointer", &holder)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", s, "holder", holder)
	j, _ := json.Marshal(holder)
	for _, printed := range []string{
		fmt.Sprintf("%v %s %q %x %X %d %#v %+v %o", s, s, s, s, s, s, s, s, s),
		fmt.Sprintf("%v %+v %#v", holder, holder, &holder), string(j), log.String(),
		fmt.Sprint(Request{Password: s}), fmt.Errorf("%w: %s", errors.New("x"), s).Error(),
	} {
		if strings.Contains(printed, "hunter2") || strings.Contains(printed, "68756e746572") {
			t.Errorf("printed: %s", printed)
		}
	}
	if s.Reveal() != text || fmt.Sprint(Secret("")) != "" {
		t.Error("Reveal or the empty secret is wrong")
	}
}

func TestRequestIDHasTheVendorsForm(t *testing.T) {
	id := NewRequestID()
	if !regexp.MustCompile(`^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$`).MatchString(id) ||
		id == NewRequestID() {
		t.Error(id)
	}
}

func TestLoopbackIsThisMachine(t *testing.T) {
	for host, want := range map[string]bool{"localhost": true, "127.0.0.1": true, "127.9.9.9": true,
		"::1": true, "": false, "0.0.0.0": false, "localhost.evil.example": false,
		"127.0.0.1.evil.example": false, "192.168.0.1": false, "LOCALHOST": false} {
		if Loopback(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}
