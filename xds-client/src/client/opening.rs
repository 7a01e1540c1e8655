//! From the wish to open an ADS stream to its response headers.

use futures::future::BoxFuture;
use tokio::sync::oneshot;

/// A stream that is being opened. Two things happen to it, in either order: the transport asks for the first request,
/// and the call answers with response headers. Whoever follows it hears of the first before the second, for until then
/// no request is sent, and of nothing after the second.
pub(super) struct Opening<T, E> {
    /// Told when the transport first asks for a request: the connection stands then, although no response came yet.
    asked: Option<oneshot::Receiver<()>>,
    call: Call<T, E>,
}

enum Call<T, E> {
    Waits(BoxFuture<'static, Result<T, E>>),
    /// It has answered, while nobody knew that the transport asked.
    Answered(Option<T>),
}

/// What happened to it.
#[derive(Debug, PartialEq)]
pub(super) enum Step<T, E> {
    /// Requests may be sent.
    Opened,
    /// Response headers came: it is no longer being opened.
    Answered(T),
    /// It cannot be opened, or not any more.
    Failed(E),
}

impl<T, E> Opening<T, E> {
    /// `asked` is told, or dropped, when the transport asks for the first request of `call`.
    pub(super) fn new(asked: oneshot::Receiver<()>, call: BoxFuture<'static, Result<T, E>>) -> Self {
        Self { asked: Some(asked), call: Call::Waits(call) }
    }

    /// Waits for what happens next; never ends after [`Step::Answered`] or [`Step::Failed`]. May be dropped and called
    /// again.
    pub(super) async fn next(&mut self) -> Step<T, E> {
        loop {
            match (&mut self.asked, &mut self.call) {
                (Some(asked), Call::Waits(call)) => tokio::select! {
                    biased;
                    told = asked => {
                        self.asked = None;
                        if told.is_ok() {
                            return Step::Opened;
                        }
                    }
                    answer = call => match answer {
                        Ok(answer) => self.call = Call::Answered(Some(answer)),
                        Err(error) => return self.fail(error),
                    },
                },
                (None, Call::Waits(call)) => match call.await {
                    Ok(answer) => self.call = Call::Answered(Some(answer)),
                    Err(error) => return self.fail(error),
                },
                (Some(asked), Call::Answered(_)) => {
                    let told = asked.await;
                    self.asked = None;
                    if told.is_ok() {
                        return Step::Opened;
                    }
                }
                (None, Call::Answered(answer)) => match answer.take() {
                    Some(answer) => return Step::Answered(answer),
                    None => return std::future::pending().await,
                },
            }
        }
    }

    fn fail(&mut self, error: E) -> Step<T, E> {
        (self.asked, self.call) = (None, Call::Answered(None));
        Step::Failed(error)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    type Tested = Opening<&'static str, &'static str>;

    /// An opening, and the two ends that make it go on.
    fn opening() -> (Tested, oneshot::Sender<()>, oneshot::Sender<Result<&'static str, &'static str>>) {
        let ((asked_tx, asked), (answer_tx, answer)) = (oneshot::channel(), oneshot::channel());
        let call = async move { answer.await.unwrap_or(Err("gone")) };
        (Opening::new(asked, call.boxed()), asked_tx, answer_tx)
    }

    fn now(opening: &mut Tested) -> Option<Step<&'static str, &'static str>> {
        opening.next().now_or_never()
    }

    #[test]
    fn requests_are_asked_for_and_then_headers_come() {
        let (mut opening, asked, answer) = opening();
        assert_eq!(now(&mut opening), None);
        asked.send(()).unwrap();
        assert_eq!(now(&mut opening), Some(Step::Opened));
        assert_eq!(now(&mut opening), None);
        answer.send(Ok("responses")).unwrap();
        assert_eq!(now(&mut opening), Some(Step::Answered("responses")));
        assert_eq!(now(&mut opening), None);
    }

    #[test]
    fn headers_that_come_before_a_request_was_asked_for_do_not_hide_that_it_was() {
        let (mut opening, asked, answer) = opening();
        answer.send(Ok("responses")).unwrap();
        assert_eq!(now(&mut opening), None);
        asked.send(()).unwrap();
        assert_eq!(now(&mut opening), Some(Step::Opened));
        assert_eq!(now(&mut opening), Some(Step::Answered("responses")));
    }

    #[test]
    fn a_call_that_ends_without_asking_for_requests_is_answered_all_the_same() {
        let (mut opening, asked, answer) = opening();
        drop(asked);
        answer.send(Ok("trailers")).unwrap();
        assert_eq!(now(&mut opening), Some(Step::Answered("trailers")));
    }

    #[test]
    fn a_call_that_fails_is_told_once() {
        let (mut opening, _asked, answer) = opening();
        answer.send(Err("refused")).unwrap();
        assert_eq!(now(&mut opening), Some(Step::Failed("refused")));
        assert_eq!(now(&mut opening), None);
    }
}
