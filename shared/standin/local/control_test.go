package local_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"weboffice-functions/shared/standin/office"
)

// serveControl lets a scenario in a page move the other side.
func (s *site) serveControl(w http.ResponseWriter, r *http.Request) {
	do, known := s.control[r.PathValue("what")]
	if !known {
		http.NotFound(w, r)
		return
	}
	given, err := io.ReadAll(r.Body)
	var answer any
	if err == nil {
		answer, err = do(given)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// given is a control that takes a value of one type.
func given[T any](do func(T) (any, error)) func(json.RawMessage) (any, error) {
	return func(text json.RawMessage) (any, error) {
		var v T
		if err := json.Unmarshal(text, &v); err != nil {
			return nil, err
		}
		return do(v)
	}
}

// controls are what testdata/scenarios.js may ask for.
func (s *stage) controls() map[string]func(json.RawMessage) (any, error) {
	return map[string]func(json.RawMessage) (any, error){
		"become": given(func(groups []string) (any, error) {
			s.site.become(groups...)
			return true, nil
		}),
		"move": given(func(ms float64) (any, error) {
			s.clock.move(time.Duration(ms) * time.Millisecond)
			return true, nil
		}),
		"calls": func(json.RawMessage) (any, error) {
			calls := s.IMM.Calls()
			return map[string]int{"Generate": calls.Generate, "Refresh": calls.Refresh,
				"DoubleSpends": len(s.IMM.DoubleSpends())}, nil
		},
		"lay": given(func(d struct{ URI, Password string }) (any, error) {
			return true, s.IMM.AddDocument(d.URI,
				office.Document{Text: "Welcome", Password: d.Password})
		}),
		"text": func(json.RawMessage) (any, error) { return s.IMM.Text(document), nil },
		"token": given(func(claims map[string]any) (any, error) {
			return s.People.Token(claims).Reveal(), nil
		}),
		"link": func(json.RawMessage) (any, error) {
			link, err := s.Token("link", document)
			return link.Reveal(), err
		},
		"fault": given(func(name string) (any, error) {
			fault, known := faults[name]
			if !known {
				return nil, fmt.Errorf("no fault %q", name)
			}
			s.IMM.Fail(office.Refresh, 1, fault)
			return true, nil
		}),
		"switches": given(func(to office.Switches) (any, error) {
			s.IMM.SetSwitches(to)
			return true, nil
		}),
		"policy": given(func(policies map[string]string) (any, error) {
			s.site.mu.Lock()
			defer s.site.mu.Unlock()
			for path, policy := range policies {
				s.site.allowed[path] = policy
			}
			return true, nil
		}),
	}
}
