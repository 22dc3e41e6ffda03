/* Closed Loop loader: keeps the calls made before /t.js has arrived. It reads the data-* attributes of its own tag,
 * so the same text works pasted inline and, under a strict Content-Security-Policy, as a file of the site. */
(function (window, document) {
  var me = document.currentScript;
  var queue = window.closedloop;
  if (!me || (queue && queue.track)) return;
  queue = window.closedloop = [];
  'track page identify group alias reset ready consent'.split(' ').forEach(function (name) {
    queue[name] = function () {
      queue.push([name, arguments]);
      return queue;
    };
  });
  var script = document.createElement('script');
  var data = me.dataset;
  for (var key in data) script.dataset[key] = data[key];
  script.async = true;
  script.nonce = me.nonce;
  if (data.integrity) {
    script.integrity = data.integrity;
    script.crossOrigin = 'anonymous';
  }
  script.src = (data.endpoint || '').replace(/\/$/, '') + '/t.js';
  document.head.appendChild(script);
})(window, document);
