/* Closed Loop tracker: what happens on a page, told in Segment's words to the site's own collector.
 *
 *   <script async src="https://HOST/t.js" data-site="WRITE_KEY" data-consent="notice"></script>
 *
 * Events wait at most a second, leave in batches, and stay in localStorage until the collector has answered.
 * Without permission there is no id and nothing is stored: a page view is only a count.
 * Nothing here may ever break the page: each way in is guarded.
 */
(function () {
  'use strict';

  const VERSION = '0.0.0'; // stamped by web/build.py
  const BATCH_EVENTS = 25;
  const BATCH_BYTES = 60000; // browsers refuse beacons and keepalive requests over 64 KB
  const EVENT_BYTES = 32000; // the collector refuses larger ones, and would refuse their batch with them
  const KEPT_EVENTS = 100;
  const FLUSH_MS = 1000;
  const ROUTE_MS = 100; // routers push, redirect and only then set the title
  const TIMEOUT_MS = 15000;
  const LONGEST_RETRY_MS = 300000;
  const FORM_MS = 43200000; // a page that was open for half a day says anew since when
  const OUR_FORM = 'form[data-closedloop-form][action*="/v1/forms/"]';
  const IDLE_MS = 15000; // a reader who does nothing for longer is away

  const script = document.currentScript || document.querySelector('script[data-site]');
  const stub = window.closedloop;
  if (stub && stub.track && !Array.isArray(stub)) return; // loaded twice
  // Tag managers cannot give a script attributes; they write them into its address: /t.js?site=WRITE_KEY
  const settings = script && Object.assign(Object.fromEntries(new URLSearchParams(script.src.split('?')[1])), script.dataset);
  const site = settings && settings.site;
  if (!site) {
    console.warn('closedloop: the script tag needs data-site, the public write key of the site');
    return;
  }

  const mode = settings.consent; // what is neither notice nor opt_out is opt_in: a typing error collects nothing
  const asksFirst = mode !== 'notice' && mode !== 'opt_out';
  const storageKey = 'closedloop:' + site;

  let collector; // URL of the batch route
  let choice = {}; // what the visitor chose: {analytics, marketing}, each granted, denied or absent
  let me = {}; // {id, user, group}; without an id we have no permission
  let waiting = []; // events not yet sent, oldest first
  let inFlight = []; // events sent and not yet answered
  let failures = 0; // unanswered attempts in a row
  let flushTimer;
  let routeTimer;

  let seen; // the page being read, as it was when it came: {page, campaign, topic}
  let pageFields; // what page() was called with, told again when permission comes later
  let referrer = document.referrer;
  let engagedMs = 0;
  let scrollPercent = 0;
  let activeAt = Infinity; // when the reader last did something; nobody sees the page: Infinity

  function tell(text, detail) {
    if ('debug' in settings) console.log('closedloop: ' + text, detail);
  }

  function guarded(work) {
    return function () {
      try {
        return work.apply(null, arguments);
      } catch (error) {
        tell('an error of ours, kept from the page:', error);
      }
    };
  }

  function uuid() { // crypto.randomUUID is missing on plain http
    return '10000000-1000-4000-8000-100000000000'.replace(/[018]/g, function (digit) {
      return (digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16);
    });
  }

  function bytes(text) {
    return new Blob([text]).size;
  }


  // Storage: one record per site. It is read again before each change, for other tabs write it too.

  function stored() {
    try {
      return JSON.parse(localStorage.getItem(storageKey)) || {};
    } catch (error) {
      return {}; // forbidden, or not ours
    }
  }

  function store(changes) {
    try {
      localStorage.setItem(storageKey, JSON.stringify(Object.assign(stored(), changes)));
    } catch (error) {
      // Forbidden or full: the page goes on with what it has in memory.
    }
  }

  function keep(events) {
    if (!me.id || !events.length) return;
    store({ queue: without(stored().queue || [], events).concat(events).slice(-KEPT_EVENTS) });
  }

  function settle(events) {
    const queue = stored().queue;
    if (queue) store({ queue: without(queue, events) });
  }

  function without(events, gone) {
    const ids = gone.map(function (event) { return event.messageId; });
    return events.filter(function (event) { return !ids.includes(event.messageId); });
  }


  // Permission

  function allowed() {
    return !navigator.globalPrivacyControl && choice.analytics !== 'denied' &&
      (!asksFirst || choice.analytics === 'granted');
  }

  function remember() {
    const record = stored();
    me = { id: record.id || uuid(), user: record.user, group: record.group };
    waiting = (record.queue || []).concat(waiting);
    store({ id: me.id, consent: choice });
    more();
  }

  function forget() {
    if (me.id) {
      waiting = []; // without an id there are only counts, of nobody
      inFlight = []; // the answer to it, whatever it is, no longer matters
    }
    me = {};
    try {
      localStorage.removeItem(storageKey);
    } catch (error) {
      return;
    }
    // Where collecting is the rule, a refusal must outlive the page.
    if (!asksFirst && choice.analytics === 'denied') store({ consent: choice });
  }

  function readChoice(given) {
    const ads = [given.ad_storage, given.ad_user_data, given.ad_personalization].filter(Boolean);
    const read = {
      analytics: given.analytics || given.analytics_storage,
      marketing: given.marketing || (ads.includes('denied') ? 'denied' : ads[0]),
    };
    Object.keys(read).forEach(function (purpose) {
      if (read[purpose] !== 'granted' && read[purpose] !== 'denied') delete read[purpose];
    });
    return read;
  }

  function changeConsent(given) {
    const next = Object.assign({}, choice, readChoice(given));
    if (next.analytics === choice.analytics && next.marketing === choice.marketing) return;
    choice = next;
    const consentUpdated = { event: 'Consent Updated', properties: Object.assign({}, next, { version: given.version }) };

    if (!allowed()) {
      if (me.id) {
        // The last word under this id: the collector must learn of the refusal.
        enqueue(describe('track', consentUpdated));
        failures = 0; // there is no next page to keep it for
        sendAll();
      }
      forget();
    } else if (me.id) {
      store({ consent: choice });
      send('track', consentUpdated);
    } else {
      waiting.pop(); // this page's count, if it has not left yet: the page view itself replaces it
      remember();
      send('track', consentUpdated);
      if (seen) enqueue(describe('page', pageFields, {}, seen));
    }
  }


  // Events

  function pageNow() {
    return {
      page: {
        path: location.pathname,
        referrer: referrer,
        search: location.search,
        title: document.title,
        url: location.href.split('#')[0],
      },
      campaign: campaign(),
      topic: topic(),
    };
  }

  function campaign() {
    const found = {};
    new URLSearchParams(location.search).forEach(function (value, key) {
      const name = /^utm_(\w+)$/.exec(key);
      if (!name || !value) return;
      const field = name[1] === 'campaign' ? 'name' : name[1];
      if (!(field in found)) found[field] = value; // the first value counts
    });
    return Object.keys(found).length ? found : undefined;
  }

  function topic() {
    const meta = document.querySelector('meta[name="closedloop:topic"]');
    return (document.body && document.body.dataset.topic) || document.documentElement.dataset.topic ||
      (meta && meta.content) || settings.topic;
  }

  function describe(type, fields, options, ofPage) {
    options = options || {};
    return Object.assign({
      type: type,
      messageId: options.messageId || uuid(),
      timestamp: options.timestamp || new Date().toISOString(),
      anonymousId: me.id,
      userId: me.user,
      context: Object.assign({}, ofPage || pageNow(), {
        consent: { analytics: choice.analytics || 'unknown', marketing: choice.marketing || 'unknown' },
        groupId: me.group,
        locale: navigator.language,
        timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
        library: { name: 'closedloop.js', version: VERSION },
      }, options.context),
    }, fields);
  }

  function count() {
    return {
      type: 'page',
      messageId: uuid(),
      timestamp: new Date().toISOString(),
      anonymousId: null,
      context: {
        page: { path: location.pathname, url: location.origin + location.pathname },
        consent: { analytics: 'denied', marketing: 'denied' },
        library: { name: 'closedloop.js', version: VERSION },
      },
    };
  }

  function send(type, fields, options, ofPage) {
    if (me.id) enqueue(describe(type, fields, options, ofPage));
    else if (type === 'page') enqueue(count());
  }

  function enqueue(event) {
    const text = JSON.stringify(event);
    tell(event.type, event);
    if (bytes(text) > EVENT_BYTES) {
      console.warn('closedloop: an event over 32 KB was left out:', event.event || event.type);
      return;
    }
    // A copy, for the page may go on changing the properties it gave.
    waiting.push(JSON.parse(text));
    more();
  }


  // Sending

  function nextBatch() {
    let size = BATCH_EVENTS;
    let batch, body;
    do {
      batch = waiting.slice(0, size);
      body = JSON.stringify({ batch: batch, writeKey: site, sentAt: new Date().toISOString() });
      size = batch.length >> 1;
    } while (size && bytes(body) > BATCH_BYTES);
    waiting = waiting.slice(batch.length);
    return { events: batch, body: body };
  }

  // A string body goes as text/plain, so there is no preflight. Without permission no cookie goes or comes.
  function request(body) {
    return fetch(collector, {
      method: 'POST',
      body: body,
      keepalive: bytes(body) <= BATCH_BYTES,
      credentials: me.id ? 'include' : 'omit',
      signal: AbortSignal.timeout && AbortSignal.timeout(TIMEOUT_MS),
    });
  }

  function flushSoon() {
    if (!flushTimer) flushTimer = setTimeout(flush, FLUSH_MS);
  }

  function more() {
    if (waiting.length >= BATCH_EVENTS && !failures) flush();
    else if (waiting.length) flushSoon();
  }

  function flush() {
    flushTimer = clearTimeout(flushTimer);
    if (inFlight.length || !waiting.length) return;
    const batch = nextBatch();
    const events = inFlight = batch.events;
    request(batch.body).then(function (reply) {
      // Any other 4xx will be the same next time.
      if (reply.status >= 500 || reply.status === 429 || reply.status === 408) {
        throw { retryAfter: reply.headers.get('Retry-After') };
      }
      if (inFlight !== events) return; // forgotten meanwhile
      inFlight = [];
      failures = 0;
      settle(events);
      if (!reply.ok) tell('refused, with status', reply.status);
      more();
    }).catch(function (failure) {
      if (inFlight !== events) return;
      inFlight = [];
      waiting = events.concat(waiting).slice(-KEPT_EVENTS);
      keep(waiting);
      failures += 1;
      const wait = failure.retryAfter * 1000 || FLUSH_MS * Math.pow(2, failures) * (0.5 + Math.random());
      flushTimer = clearTimeout(flushTimer);
      flushTimer = setTimeout(flush, Math.min(wait, LONGEST_RETRY_MS));
    });
  }

  // The page may be gone in a moment. A beacon gives no answer, so what is known to fail is kept for the next page.
  function sendAll() {
    keep(inFlight);
    while (waiting.length) {
      if (failures || navigator.onLine === false) return keep(waiting);
      const batch = nextBatch();
      // Beacons always carry cookies: none without permission.
      if (me.id && navigator.sendBeacon && navigator.sendBeacon(collector, batch.body)) {
        settle(batch.events);
      } else {
        keep(batch.events); // until an answer is heard, on this page or the next
        request(batch.body).then(function (reply) { if (reply.ok) settle(batch.events); }).catch(function () {});
      }
    }
  }


  // Reading: one summary for each stretch that a page was read

  function resume() {
    activeAt = document.visibilityState === 'hidden' ? Infinity : performance.now();
  }

  function active() {
    const now = performance.now();
    if (now < activeAt) return; // nobody sees the page
    engagedMs += Math.min(now - activeAt, IDLE_MS);
    activeAt = now;
    const height = document.documentElement.scrollHeight;
    if (height) scrollPercent = Math.max(scrollPercent, Math.min(100, Math.round((scrollY + innerHeight) / height * 100)));
  }

  function summarise() {
    if (!seen) return;
    active();
    const seconds = Math.round(engagedMs / 1000);
    if (seconds) {
      send('track', {
        event: 'Page Engaged',
        properties: { engaged_seconds: seconds, scroll_percent: scrollPercent },
      }, {}, seen);
    }
    engagedMs = 0;
  }

  function leave() {
    if (routeTimer) arrive();
    summarise();
    activeAt = Infinity;
    sendAll();
  }


  // Single-page applications

  function routed() {
    clearTimeout(routeTimer);
    routeTimer = setTimeout(arrive, ROUTE_MS);
  }

  const arrive = guarded(function () {
    routeTimer = clearTimeout(routeTimer);
    if (seen.page.path !== location.pathname || seen.page.search !== location.search) view([]);
  });

  function view(args) {
    const given = sort(args);
    summarise();
    if (seen) referrer = seen.page.url;
    seen = pageNow();
    scrollPercent = 0;
    resume();
    pageFields = { name: given.words.pop(), category: given.words.pop(), properties: given.objects[0] || {} };
    send('page', pageFields, given.objects[1], seen);
  }


  // Marked elements and forms

  function closest(event, selector) {
    const target = event.composedPath ? event.composedPath()[0] : event.target; // looks into shadow roots
    return target && target.closest && target.closest(selector);
  }

  function clicked(event) {
    const element = closest(event, '[data-cl-event]');
    if (!element || event.button > 1) return;
    const properties = {};
    if (element.hasAttribute('href')) properties.href = element.getAttribute('href');
    Object.keys(element.dataset).forEach(function (key) {
      // data-cl-plan-name="pro" is the property planName
      if (/^cl[A-Z]/.test(key) && key !== 'clEvent') properties[key[2].toLowerCase() + key.slice(3)] = element.dataset[key];
    });
    send('track', { event: element.dataset.clEvent, properties: properties });
  }

  const startedForms = new WeakSet();
  const submissionIds = new WeakMap();
  const times = new WeakMap(); // since when each form could be seen
  let findTimer;

  function formTouched(event) {
    const form = closest(event, 'form[data-closedloop-form]');
    if (!form) return;
    submissionIds.delete(form); // what is sent next is another submission
    if (!startedForms.has(form)) formEvent('Form Started', form);
    startedForms.add(form);
    const time = times.get(form);
    if (time && Date.now() - time.at > FORM_MS) askTime(form);
  }

  // The collector signs since when a form could be seen. Without that, it is taken as from a page without script.
  function findForms() {
    findTimer = clearTimeout(findTimer);
    document.querySelectorAll(OUR_FORM).forEach(function (form) {
      if (!times.has(form)) askTime(form);
    });
  }

  function askTime(form) {
    const time = { at: Date.now() };
    times.set(form, time);
    const trap = form.querySelector('[name=cl_website]') || form.appendChild(document.createElement('input'));
    trap.name = 'cl_website'; // people do not see it, robots fill it in
    trap.autocomplete = 'off';
    trap.hidden = true;
    const url = new URL(form.getAttribute('action'), location.href);
    url.searchParams.set('writeKey', site);
    fetch(url, { credentials: 'omit' }).then(function (reply) { return reply.json(); }).then(function (told) {
      time.token = told.token;
    }).catch(function () {});
  }

  function formSent(event) {
    const form = closest(event, 'form[data-closedloop-form]');
    if (!form) return;
    // A form that posts to the collector is told by the collector, which knows whether it was accepted.
    if (form.matches(OUR_FORM)) addHiddenFields(form);
    else formEvent('Form Submitted', form);
  }

  // Two clicks on the button are one submission. Whose it is, we say only with permission.
  function addHiddenFields(form) {
    if (!submissionIds.has(form)) submissionIds.set(form, uuid());
    const hidden = { cl_write_key: site, cl_submission_id: submissionIds.get(form) };
    const time = times.get(form);
    if (time && time.token) hidden.cl_time = time.token;
    if (me.id) Object.assign(hidden, { cl_anonymous_id: me.id, cl_page_url: location.href, cl_referrer: referrer });
    Object.keys(hidden).forEach(function (name) {
      const field = form.querySelector('input[name=' + name + ']') || form.appendChild(document.createElement('input'));
      field.type = 'hidden';
      field.name = name;
      field.value = hidden[name];
    });
  }

  // Which form, never what was typed into it.
  function formEvent(name, form) {
    send('track', { event: name, properties: { form: form.dataset.closedloopForm } });
  }


  // The public methods, with the arguments of analytics.js: words, then up to two objects, then a callback

  function sort(args) {
    args = Array.prototype.slice.call(args);
    return {
      words: args.filter(function (arg) { return typeof arg === 'string' || typeof arg === 'number'; }).map(String),
      objects: args.filter(function (arg) { return arg && typeof arg === 'object'; }),
    };
  }

  function setUser(user) {
    if (!me.id || !user) return;
    me.user = user;
    store({ user: user });
  }

  const methods = {
    track: function (args) {
      const given = sort(args);
      if (given.words[0]) send('track', { event: given.words[0], properties: given.objects[0] || {} }, given.objects[1]);
    },
    page: view,
    identify: function (args) {
      const given = sort(args);
      setUser(given.words[0]);
      send('identify', { traits: given.objects[0] || {} }, given.objects[1]);
    },
    group: function (args) {
      const given = sort(args);
      if (me.id && given.words[0]) store({ group: me.group = given.words[0] });
      send('group', { groupId: me.group, traits: given.objects[0] || {} }, given.objects[1]);
    },
    alias: function (args) {
      const given = sort(args);
      const previous = given.words[1] || me.user || me.id;
      setUser(given.words[0]);
      send('alias', { previousId: previous }, given.objects[0]);
    },
    reset: function () {
      if (!me.id) return;
      me = { id: uuid() };
      store({ id: me.id, user: undefined, group: undefined });
    },
    ready: function () {}, // its callback is called like any other
    consent: function (args) {
      changeConsent(args[0] || {});
    },
  };

  const api = { version: VERSION };
  Object.keys(methods).forEach(function (name) {
    const method = guarded(methods[name]);
    api[name] = function () {
      method(arguments);
      const callback = arguments[arguments.length - 1];
      if (typeof callback === 'function') guarded(callback)();
      return api;
    };
  });


  function listen(target, names, work) {
    names.split(' ').forEach(function (name) {
      target.addEventListener(name, guarded(work), { capture: true, passive: true });
    });
  }

  const start = guarded(function () {
    // A path in data-endpoint is one of the page's own host.
    const base = settings.endpoint ? new URL(settings.endpoint, location.href) : new URL('.', script.src || location.href);
    collector = base.href.replace(/\/+$/, '') + '/v1/b';

    window.closedloop = api;
    choice = stored().consent || {};
    if (allowed()) remember();
    else forget();

    const calls = Array.isArray(stub) ? stub : [];
    function replay(consent) {
      calls.forEach(function (call) {
        if (api[call[0]] && (call[0] === 'consent') === consent) api[call[0]].apply(api, call[1]);
      });
    }
    replay(true); // a choice made before we were loaded holds for the first page view
    if (settings.page !== 'manual') {
      view([]);
      ['pushState', 'replaceState'].forEach(function (name) {
        const original = history[name];
        history[name] = function () {
          const result = original.apply(this, arguments);
          routed();
          return result;
        };
      });
      listen(window, 'popstate', routed);
      listen(window, 'pageshow', function (event) { if (event.persisted) view([]); }); // back from the cache
    }
    replay(false);

    findForms();
    new MutationObserver(guarded(function () {
      findTimer = findTimer || setTimeout(guarded(findForms), ROUTE_MS);
    })).observe(document, { childList: true, subtree: true });
    listen(document, 'click auxclick', clicked);
    listen(document, 'input change', formTouched);
    listen(document, 'submit', formSent);
    listen(document, 'scroll keydown pointerdown pointermove', function () {
      if (performance.now() - activeAt > 200) active();
    });
    listen(document, 'visibilitychange', function () {
      if (document.visibilityState === 'hidden') leave();
      else resume();
    });
    listen(window, 'pagehide', leave);
    listen(window, 'online', flush);
  });

  if (document.prerendering) document.addEventListener('prerenderingchange', start, { once: true });
  else start();
})();
