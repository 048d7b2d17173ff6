package app_test

import (
	"os"
	"path/filepath"
	"testing"

	"weboffice-functions/shared/policy"
)

// TestPolicies runs the tests of every policy that lies here, so that `go test ./...` stands
// between a change and its deployment. A policy may leave its project to the deployment's
// environment.
func TestPolicies(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no policies: %v", err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := policy.Parse(text, policy.Options{Project: "from-the-environment"})
			if err != nil {
				t.Fatalf("%s, at line:column:\n%v", file, err)
			}
			ran, failures := parsed.Test()
			for _, failure := range failures {
				t.Error(failure)
			}
			for _, warning := range parsed.Warnings() {
				t.Log("warning:", warning)
			}
			t.Logf("%d rules, %d tests", parsed.Rules(), ran)
		})
	}
}
