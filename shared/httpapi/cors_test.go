package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"weboffice-functions/shared/broker"
)

const origin = "https://docs.example.com"

// rows are the lines of a file of test cases, with what stands between their bars.
func rows(t *testing.T, file string) (all [][]string) {
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.Split(line, "|")
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		if !strings.HasPrefix(line, "#") {
			all = append(all, parts)
		}
	}
	return all
}

// words are the words of a cell, of which "" is an empty one.
func words(cell string) (all []string) {
	for word := range strings.FieldsSeq(cell) {
		all = append(all, strings.Trim(word, `"`))
	}
	return all
}

// Pages of exactly the policy's origins may call, and read what they get.
func TestOtherOriginsAreRefused(t *testing.T) {
	for _, row := range rows(t, "origins.txt") {
		name, origins, site, want := row[0], words(row[1]), words(row[2]), row[3]
		allowed := ""
		if want == "200" && len(origins) == 1 {
			allowed = origin
		}
		for _, method := range []string{http.MethodPost, http.MethodOptions} {
			reached := false
			e := using(t, func(broker.Visitor, string) error { reached = true; return nil })
			r := post(nil)
			r.Method = method
			r.Header["Origin"], r.Header["Sec-Fetch-Site"] = origins, site
			w := e.serve(r)
			status := want
			if want == "200" && method == http.MethodOptions {
				status = "204"
			}
			header := w.Header()
			if strconv.Itoa(w.Code) != status ||
				header.Get("Access-Control-Allow-Origin") != allowed ||
				header.Get("Vary") != "Origin" || header.Get("Cache-Control") != "no-store" ||
				reached != (status == "200") ||
				header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s %s: %d %v", method, name, w.Code, header)
			}
			if status == "204" && (w.Body.Len() != 0 ||
				!strings.Contains(e.log.String(), "level=DEBUG") ||
				header.Get("Access-Control-Allow-Methods") != "POST, GET, OPTIONS" ||
				header.Get("Access-Control-Allow-Headers") != "Authorization, Content-Type" ||
				header.Get("Access-Control-Max-Age") != "86400") { // for it costs an invocation
				t.Errorf("%s: %v, logged %s", name, header, &e.log)
			}
		}
	}
}

func TestMethodsAndMediaTypes(t *testing.T) {
	for _, row := range rows(t, "methods.txt") {
		request := strings.Fields(row[1])
		e := failing(t, nil)
		e.Edge.QuickStart = slices.Contains(request, "quick-start")
		r := httptest.NewRequest(request[0], request[1], strings.NewReader("{}"))
		r.Header.Set("Content-Type", row[2])
		if slices.Contains(request, "proof") {
			r.Header.Set("Authorization", "Bearer "+linkProof(t))
		}
		w := e.serve(r)
		status, allow, _ := strings.Cut(row[3], " ")
		if strconv.Itoa(w.Code) != status || w.Header().Get("Allow") != allow {
			t.Errorf("%s: %d %s %v", row[0], w.Code, w.Body, w.Header())
		}
	}
}
